"""Training runs that are stopped by signals and other causes, and resumed by resume=auto."""

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
from tagpose.training.resume_checkpoint import read_global_step


@pytest.fixture(scope="module")
def uninterrupted(people, tmp_path_factory):
    """Return the last checkpoint of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    succeeded(train(people, folder, "uninterrupted"))
    return last(folder, "uninterrupted")


@pytest.mark.slow
def test_a_signal_saves_a_checkpoint_from_which_the_run_resumes_exactly(
    people, uninterrupted, tmp_path
):
    stopped = train(people, tmp_path, "a", *signal_at(8, signal.SIGTERM))
    assert stopped.returncode == 143
    assert "SIGTERM: stopped at step 8; resume with resume=" in stopped.stderr + stopped.stdout
    assert read_global_step(last(tmp_path, "a")) == 8
    config = last(tmp_path, "a").parent / ".hydra"
    before = {file.name: file.read_text() for file in config.iterdir()}
    refused = train(people, tmp_path, "a", "seed=7")
    assert "has checkpoints of an earlier run; set resume=auto to resume" in refused.stderr
    assert {file.name: file.read_text() for file in config.iterdir()} == before
    finished = succeeded(train(people, tmp_path, "a", "resume=auto"))
    assert "Resuming from" in finished.stdout
    assert_same(last(tmp_path, "a"), uninterrupted)
    rows = (last(tmp_path, "a").parent / "metrics.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[1]) for row in rows]
    assert steps == sorted(steps)
    assert len(steps) == len((uninterrupted.parent / "metrics.csv").read_text().splitlines()[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 143), ("SIGUSR1", 138), ("SIGINT", 130), ("SIGHUP", 129)]
)
@pytest.mark.parametrize(
    ("step", "kind", "saved"),
    [
        (8, "Signal", 8),
        (12, "Signal", 11),  # the next step is followed by a validation
        (18, "Signal", 18),  # the end of an epoch without a validation
        (12, "SignalInValidation", 11),
    ],
)
def test_every_stop_signal_saves_a_checkpoint_and_sets_the_exit_code(
    people, uninterrupted, tmp_path, name, code, step, kind, saved
):
    stopped = train(people, tmp_path, "a", *signal_at(step, signal.Signals[name], kind=kind))
    assert stopped.returncode == code
    assert f"{name}: stopped at step {step}" in stopped.stderr + stopped.stdout
    assert read_global_step(last(tmp_path, "a")) == saved
    succeeded(train(people, tmp_path, "a", "resume=auto"))
    assert_same(last(tmp_path, "a"), uninterrupted)


@pytest.mark.slow
def test_a_second_process_cannot_use_the_folder_until_the_first_one_is_killed(people, tmp_path):
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
    with (folder / "metrics.csv").open() as stream:
        steps = list(validations(stream))
        stream.seek(0)
        rows = [row for row in csv.DictReader(stream) if row["val/loss/total"]]
    assert steps == [f"{step}" for step in range(11, 6 * epochs, 12)]  # every second epoch
    assert len(rows) == len(steps)


@pytest.mark.slow
def test_closing_the_terminal_saves_a_checkpoint(people, uninterrupted, tmp_path):
    # with wandb and workers, whose processes receive the signal, too
    every_step = "callbacks.resumable_checkpoint.interval_minutes=0"
    overrides = [word for word in words(people, "a", every_step) if word != "logger=csv"]
    overrides[overrides.index("data.num_workers=0")] = "data.num_workers=2"
    master, terminal = pty.openpty()
    name = os.ttyname(terminal)
    # the first terminal that a new session opens becomes its controlling terminal
    shell = ["/bin/sh", "-c", f'exec "$@" <>{name} >&0 2>&1', "sh", *command("train", *overrides)]
    process = subprocess.Popen(shell, cwd=tmp_path, env=os.environ | PLAIN, start_new_session=True)
    while not last(tmp_path, "a").exists():
        if select.select([master], [], [], 0.1)[0]:
            os.read(master, 10_000)
    os.close(terminal)  # not before the program has opened it
    os.close(master)
    assert process.wait(60) == 129
    assert 0 < read_global_step(last(tmp_path, "a")) < 24
    succeeded(train(people, tmp_path, "a", "resume=auto"))
    assert_same(last(tmp_path, "a"), uninterrupted)


@pytest.mark.slow
def test_a_run_under_nohup_continues_when_the_terminal_is_closed(people, uninterrupted, tmp_path):
    shell = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]  # as nohup does
    overrides = words(people, "a", *signal_at(8, signal.SIGHUP))
    ended = subprocess.run(
        [*shell, *command("train", *overrides)], cwd=tmp_path, env=os.environ | PLAIN | PROGRAMS,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    succeeded(ended)
    assert_same(last(tmp_path, "a"), uninterrupted)


@pytest.mark.slow
def test_a_full_log_disk_or_a_limited_encoding_does_not_end_a_run(people, uninterrupted, tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            command("train", *words(people, "a")), cwd=tmp_path, stdout=full, check=False,
            stderr=subprocess.PIPE, env=os.environ | PLAIN | {"PYTHONIOENCODING": "latin-1"},
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert b"bytes of stdout were lost: No space left on device" in ended.stderr
    assert_same(last(tmp_path, "a"), uninterrupted)


@pytest.mark.slow
def test_a_second_signal_ends_a_run_immediately(people, tmp_path):
    twice = signal_at(8, signal.SIGTERM, kind="SignalTwice")
    stopped = train(
        people, tmp_path, "a", "callbacks.resumable_checkpoint.interval_minutes=0", *twice
    )
    assert stopped.returncode == 143
    assert read_global_step(last(tmp_path, "a")) == 8  # the ninth step had started
    assert "stopped at step" not in stopped.stderr + stopped.stdout


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(people, uninterrupted, tmp_path):
    succeeded(train(people, tmp_path, "a", "trainer.deterministic=true"))
    assert_same(last(tmp_path, "a"), uninterrupted)


KILLS = 50
SLEEP = 1.0  # maximum seconds between the first checkpoint and the kill


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_repeatedly_killed_run_equals_an_uninterrupted_one(people, tmp_path):
    # 540 steps; a busy machine takes 7 of them between two kills
    long = ("trainer.max_epochs=90", "trainer.check_val_every_n_epoch=5")
    succeeded(train(people, tmp_path, "uninterrupted", *long))
    kills, generator, file = 0, random.Random(0), last(tmp_path, "a")
    overrides = words(
        people, "a", *long, "resume=auto", "callbacks.resumable_checkpoint.interval_minutes=0"
    )
    shared_memory = Path("/dev/shm")  # another disk than that of the run
    environment = {"TMPDIR": str(shared_memory)} if shared_memory.is_dir() else {}
    while kills < KILLS:
        before = time.time()
        process = started("train", *overrides, cwd=tmp_path, log=tmp_path / "log", **environment)
        while process.poll() is None and not (file.exists() and file.stat().st_mtime > before):
            time.sleep(0.01)
        time.sleep(generator.uniform(0, SLEEP))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills == KILLS, (tmp_path / "log").read_text()[-2000:]
    finished = succeeded(run("train", *overrides, cwd=tmp_path, **environment))
    assert "Resuming from" in finished.stdout
    assert_same(file, last(tmp_path, "uninterrupted"))
    assert not list(file.parent.glob("*.tmp*"))
    with (
        (file.parent / "metrics.csv").open() as actual,
        last(tmp_path, "uninterrupted").with_name("metrics.csv").open() as expected,
    ):
        assert validations(actual) == validations(expected)


def validations(file):
    """Return the validation losses in a metrics.csv by step."""
    return {
        row["step"]: row["val/loss/total"] for row in csv.DictReader(file) if row["val/loss/total"]
    }
