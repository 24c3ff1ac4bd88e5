"""One command trains, evaluates and describes both stages, and resumes after an interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.run_scripts import PLAIN, ROOT, run, succeeded

pytestmark = pytest.mark.slow

EPOCHS = 20  # of one step
STEPS = ["pretrain", "evaluate_pretrain", "finetune", "evaluate_finetune", "report", "published"]


def words(people):
    both = (
        f'train_overrides=["input_size=64","trainer.max_epochs={EPOCHS}","trainer.check_val_every_n_epoch=10",'
        '"logger=csv","data.num_workers=0","~callbacks.image_logger","trainer.precision=32-true"]'
    )
    return ["experiment=smoke", "trainer.accelerator=cpu", f"data.root={people}", "run=out", both]


def program(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/bash\n{content}\n")
    file.chmod(0o755)


def batch_job(folder, arguments, log):
    """The batch script in a folder, with stand-ins for the commands of SLURM."""
    for name in ("scripts", "conf"):
        (folder / name).symlink_to(ROOT / name)
    program(folder / ".venv/bin/python", f'exec {sys.executable} "$@"')
    program(folder / "bin/srun", 'while [[ $1 == --* ]]; do shift; done; exec "$@"')
    program(folder / "bin/scontrol", 'echo "$@" > requeued')
    slurm = {"CPUS_PER_TASK": "1", "NTASKS_PER_NODE": "1", "NNODES": "1", "JOB_ID": "7"}
    environment = os.environ | PLAIN | {f"SLURM_{name}": value for name, value in slurm.items()}
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
    return subprocess.Popen(
        ["/bin/bash", str(ROOT / "scripts/reproduce.sbatch"), *arguments],
        cwd=folder, env=environment, stdout=log, stderr=log,
    )  # fmt: skip


def wait_for(file, process):
    while not file.exists() and process.poll() is None:
        time.sleep(0.05)


@pytest.mark.timeout(1800)
def test_a_job_whose_time_is_up_is_queued_again_and_the_same_command_ends_with_all_results(
    people, tmp_path
):
    out, told = tmp_path / "out", words(people)
    with (tmp_path / "log").open("w") as log:
        job = batch_job(tmp_path, told, log)
        wait_for(out / "pretrain/best.ckpt", job)
        job.send_signal(signal.SIGUSR1)
        assert job.wait() == 138, (tmp_path / "log").read_text()
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    assert "pretrain was interrupted; the same command resumes" in (tmp_path / "log").read_text()
    assert not (out / "steps.json").exists()

    finished = succeeded(run("reproduce", *told, cwd=tmp_path))
    assert ".ckpt: goes on" in finished.stdout
    assert "an optimizer step has" not in finished.stderr
    assert list(json.loads((out / "steps.json").read_text())) == STEPS
    assert_complete(out)

    again = succeeded(run("reproduce", *told, cwd=tmp_path))
    assert "$ python" not in again.stdout
    other = run("reproduce", *told, "recipe=mmpose", cwd=tmp_path)
    assert other.returncode == 1
    assert "pretrain in out is done with other options (recipe=mmpose, recipe=tag" in other.stderr


def assert_complete(out: Path):
    compared = json.loads((out / "comparison.json").read_text())
    assert {one["part"] for one in compared["pretrain"]} == {"body"}
    assert {"body", "foot", "face", "hand", "wholebody"} == {
        one["part"] for one in compared["finetune"]
    }
    assert "0.342" in (out / "comparison.txt").read_text()  # published, of the whole body
    assert (out / "report/report.html").stat().st_size > 10_000
    card = (out / "published/hrnet_w18_small_wholebody.md").read_text()
    assert "## Numbers" in card
    test = json.loads((out / "evaluate_finetune/metrics.json").read_text())["test"]
    assert test["flip_test"] is True
