"""Runs of the program that are stopped, by signals and otherwise, and go on by resume=auto."""

import csv
import os
import pty
import random
import select
import signal
import subprocess
import time
from pathlib import Path
from socket import gethostname

import pytest

from helpers.interrupted_training import PROGRAMS, assert_same, last, signal_at, train, words
from helpers.run_scripts import PLAIN, command, run, started, succeeded
from tagpose.models.checkpoint import read_global_step


@pytest.fixture(scope="module")
def atomic_write(people, tmp_path_factory):
    """The checkpoint of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    succeeded(train(people, folder, "whole"))
    return last(folder, "whole")


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_saves_says_so_and_goes_on_exactly(people, whole, tmp_path):
    stopped = train(people, tmp_path, "a", *signal_at(8, signal.SIGTERM))
    assert stopped.returncode == 143
    assert "SIGTERM: stopped at step 8; resume=" in stopped.stderr + stopped.stdout
    assert read_global_step(last(tmp_path, "a")) == 8
    told = last(tmp_path, "a").parent / ".hydra"
    before = {file.name: file.read_text() for file in told.iterdir()}
    refused = train(people, tmp_path, "a", "seed=7")
    assert "has checkpoints of an earlier run; set resume=auto to resume" in refused.stderr
    assert {file.name: file.read_text() for file in told.iterdir()} == before
    finished = succeeded(train(people, tmp_path, "a", "resume=auto"))
    assert "Resuming from" in finished.stdout
    assert_same(last(tmp_path, "a"), whole)
    rows = (last(tmp_path, "a").parent / "metrics.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[1]) for row in rows]
    assert steps == sorted(steps)
    assert len(steps) == len((whole.parent / "metrics.csv").read_text().splitlines()[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 143), ("SIGUSR1", 138), ("SIGINT", 130), ("SIGHUP", 129)]
)
@pytest.mark.parametrize(
    ("step", "kind", "saved"),
    [
        (8, "Signal", 8),
        (12, "Signal", 11),  # a validation would follow
        (18, "Signal", 18),  # the end of an epoch without one
        (12, "SignalInValidation", 11),
    ],
)
def test_any_signal_anywhere_saves_and_ends_with_its_code(
    people, whole, tmp_path, name, code, step, kind, saved
):
    stopped = train(people, tmp_path, "a", *signal_at(step, signal.Signals[name], kind=kind))
    assert stopped.returncode == code
    assert f"{name}: stopped at step {step}" in stopped.stderr + stopped.stdout
    assert read_global_step(last(tmp_path, "a")) == saved
    succeeded(train(people, tmp_path, "a", "resume=auto"))
    assert_same(last(tmp_path, "a"), whole)


@pytest.mark.slow
def test_a_run_that_is_started_twice_is_refused_once_and_free_when_its_process_is_killed(
    people, tmp_path
):
    long = words(
        people,
        "a",
        "resume=auto",
        "trainer.max_epochs=1000",
        "callbacks.resumable_checkpoint.interval_minutes=0",
    )
    process = started("train", *long, cwd=tmp_path, log=tmp_path / "log")
    while not (folder := last(tmp_path, "a").parent).joinpath("metrics.csv").exists():
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    again = run("train", *long, cwd=tmp_path)
    assert again.returncode == 1
    assert f"is in use by process {process.pid} on {gethostname()}" in again.stderr
    assert "Resuming" not in again.stdout
    assert process.poll() is None
    process.kill()
    process.wait()
    epochs = read_global_step(folder / "last.ckpt") // 6 + 2
    succeeded(train(people, tmp_path, "a", "resume=auto", f"trainer.max_epochs={epochs}"))
    with (folder / "metrics.csv").open() as lines:
        steps = list(validations(lines))
        lines.seek(0)
        rows = [row for row in csv.DictReader(lines) if row["val/loss/total"]]
    assert steps == [f"{step}" for step in range(11, 6 * epochs, 12)]  # each second epoch
    assert len(rows) == len(steps)


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_a_run_as_other_signals_do(people, whole, tmp_path):
    # wandb's own process and workers hear of it, too
    told = [
        word
        for word in words(people, "a", "callbacks.resumable_checkpoint.interval_minutes=0")
        if "=csv" not in word
    ]
    told[told.index("data.num_workers=0")] = "data.num_workers=2"
    master, terminal = pty.openpty()
    name = os.ttyname(terminal)
    # opened first in a session of its own, it is that session's terminal
    shell = ["/bin/sh", "-c", f'exec "$@" <>{name} >&0 2>&1', "sh", *command("train", *told)]
    process = subprocess.Popen(shell, cwd=tmp_path, env=os.environ | PLAIN, start_new_session=True)
    os.close(terminal)
    while not last(tmp_path, "a").exists():
        if select.select([master], [], [], 0.1)[0]:
            os.read(master, 10_000)
    os.close(master)
    assert process.wait(60) == 129
    assert 0 < read_global_step(last(tmp_path, "a")) < 24
    succeeded(train(people, tmp_path, "a", "resume=auto"))
    assert_same(last(tmp_path, "a"), whole)


@pytest.mark.slow
def test_a_run_that_ignores_its_terminal_goes_on_when_that_is_closed(people, whole, tmp_path):
    shell = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]  # as nohup does
    told = words(people, "a", *signal_at(8, signal.SIGHUP))
    ended = subprocess.run(
        [*shell, *command("train", *told)], cwd=tmp_path, env=os.environ | PLAIN | PROGRAMS,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    succeeded(ended)
    assert_same(last(tmp_path, "a"), whole)


@pytest.mark.slow
def test_a_log_that_cannot_be_written_and_an_encoding_without_a_character_end_no_run(
    people, whole, tmp_path
):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            command("train", *words(people, "a")), cwd=tmp_path, stdout=full, check=False,
            stderr=subprocess.PIPE, env=os.environ | PLAIN | {"PYTHONIOENCODING": "latin-1"},
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert b"bytes of stdout were lost: No space left on device" in ended.stderr
    assert_same(last(tmp_path, "a"), whole)


@pytest.mark.slow
def test_a_second_signal_ends_a_run_at_once(people, tmp_path):
    twice = signal_at(8, signal.SIGTERM, kind="SignalTwice")
    stopped = train(
        people, tmp_path, "a", "callbacks.resumable_checkpoint.interval_minutes=0", *twice
    )
    assert stopped.returncode == 143
    assert read_global_step(last(tmp_path, "a")) == 8  # of the nine steps that were begun
    assert "stopped at step" not in stopped.stderr + stopped.stdout


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(people, whole, tmp_path):
    succeeded(train(people, tmp_path, "a", "trainer.deterministic=true"))
    assert_same(last(tmp_path, "a"), whole)


KILLS = 50
SLEEP = 1.0  # seconds at most that a run may live after it has saved


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_never_stopped(people, tmp_path):
    # 540 steps, of which a busy machine made 7 between two kills
    long = ("trainer.max_epochs=90", "trainer.check_val_every_n_epoch=5")
    succeeded(train(people, tmp_path, "whole", *long))
    kills, draw, file = 0, random.Random(0), last(tmp_path, "a")
    often = words(
        people, "a", *long, "resume=auto", "callbacks.resumable_checkpoint.interval_minutes=0"
    )
    shared_memory = Path("/dev/shm")  # another disk than the run's
    elsewhere = {"TMPDIR": str(shared_memory)} if shared_memory.is_dir() else {}
    while kills < KILLS:
        before = time.time()
        process = started("train", *often, cwd=tmp_path, log=tmp_path / "log", **elsewhere)
        while process.poll() is None and not (file.exists() and file.stat().st_mtime > before):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, SLEEP))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills == KILLS, (tmp_path / "log").read_text()[-2000:]
    finished = succeeded(run("train", *often, cwd=tmp_path, **elsewhere))
    assert "Resuming from" in finished.stdout
    assert_same(file, last(tmp_path, "whole"))
    assert not list(file.parent.glob("*.tmp*"))
    with (
        (file.parent / "metrics.csv").open() as one,
        last(tmp_path, "whole").with_name("metrics.csv").open() as other,
    ):
        assert validations(one) == validations(other)


def validations(file):
    """Scores of the validations that a metrics.csv has, by step."""
    return {
        row["step"]: row["val/loss/total"] for row in csv.DictReader(file) if row["val/loss/total"]
    }
