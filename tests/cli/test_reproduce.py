"""Reproduction: one command trains, evaluates and describes both stages, and resumes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.run_scripts import PLAIN, ROOT, run, succeeded

EPOCHS = 20  # of one step each
STEPS = ["pretrain", "evaluate_pretrain", "finetune", "evaluate_finetune", "report", "published"]


def words(people):
    train_overrides = (
        "input_size=64", f"trainer.max_epochs={EPOCHS}", "trainer.check_val_every_n_epoch=10",
        "logger=csv", "data.num_workers=0", "~callbacks.image_logger", "trainer.precision=32-true",
    )  # fmt: skip
    return [
        "experiment=smoke", "trainer.accelerator=cpu", f"data.root={people}", "run=out",
        f"train_overrides={json.dumps(train_overrides, separators=(',', ':'))}",
    ]  # fmt: skip


def write_script(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/bash\n{content}\n")
    file.chmod(0o755)


def start_batch_job(folder, arguments, log):
    """Start the batch script in a folder, with stand-ins for the commands of SLURM."""
    for name in ("scripts", "conf"):
        (folder / name).symlink_to(ROOT / name)
    write_script(folder / ".venv/bin/python", f'exec {sys.executable} "$@"')
    write_script(folder / "bin/srun", 'while [[ $1 == --* ]]; do shift; done; exec "$@"')
    write_script(folder / "bin/scontrol", 'echo "$@" > requeued')
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


def test_missing_data_of_stage_two_is_an_error_before_stage_one_starts(people, tmp_path):
    root = shutil.copytree(people, tmp_path / "people")
    missing = root / "annotations/coco_wholebody_train_v1.0.json"
    missing.unlink()
    result = run("reproduce", *words(root), cwd=tmp_path)
    assert result.returncode == 1
    assert f"the dataset lacks {missing};" in result.stderr
    assert not (tmp_path / "out/pretrain").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_job_is_requeued_at_its_time_limit_and_the_same_command_resumes(people, tmp_path):
    out, arguments = tmp_path / "out", words(people)
    with (tmp_path / "log").open("w") as log:
        job = start_batch_job(tmp_path, arguments, log)
        wait_for(out / "pretrain/best.ckpt", job)
        job.send_signal(signal.SIGUSR1)
        assert job.wait() == 138, (tmp_path / "log").read_text()
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    assert "out/pretrain was interrupted; run the same command" in (tmp_path / "log").read_text()
    assert finished_steps(out) == []

    finished = succeeded(run("reproduce", *arguments, cwd=tmp_path))
    assert re.search(r"Resuming from .*pretrain/.*\.ckpt", finished.stdout)
    assert "an optimizer step has" not in finished.stderr
    assert finished_steps(out) == STEPS
    assert_complete(out)

    again = succeeded(run("reproduce", *arguments, cwd=tmp_path))
    assert "$ tagpose" not in again.stdout
    other = run("reproduce", *arguments, "recipe=mmpose", cwd=tmp_path)
    assert other.returncode == 1
    assert "out/pretrain was run with other options (recipe=mmpose, recipe=tag" in other.stderr


def finished_steps(out: Path):
    """Return the names of the finished steps, in the order of their end."""
    records = sorted(out.glob("*/step.json"), key=lambda file: file.stat().st_mtime_ns)
    return [file.parent.name for file in records]


def assert_complete(out: Path):
    compared = json.loads((out / "comparison.json").read_text())
    assert {row["part"] for row in compared["pretrain"]} == {"body"}
    parts = {row["part"] for row in compared["finetune"]}
    assert parts == {"body", "foot", "face", "hand", "wholebody"}
    assert "0.342" in (out / "comparison.txt").read_text()  # published AP of the whole body
    assert (out / "report/report.html").stat().st_size > 10_000
    card = (out / "published/hrnet_w18_small_wholebody.md").read_text()
    assert "## Metrics" in card
    test = json.loads((out / "evaluate_finetune/metrics.json").read_text())["test"]
    assert test["flip_test"] is True
