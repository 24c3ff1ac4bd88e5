"""Makefile: overrides on make's command line reach Hydra unchanged."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def dry_run(*words):
    """Return the last command that make would run."""
    # `make test` exports its own flags and variables
    inherited = ("MAKE", "ARGS")
    environment = {n: value for n, value in os.environ.items() if not n.startswith(inherited)}
    result = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, env=environment, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_overrides_reach_the_program_and_the_stage_is_the_experiment(stage):
    command = dry_run(stage, "model=hrnet_w48", "trainer.devices=8", "data.root=/data/coco")
    assert "-m tagpose train " in command
    words = {f"experiment={stage}", "model=hrnet_w48", "trainer.devices=8", "data.root=/data/coco"}
    assert words <= set(shlex.split(command))


def test_another_experiment_replaces_that_of_the_stage():
    command = dry_run("finetune", "experiment=overfit")
    assert command.count("experiment=") == 1


def test_args_reach_the_program_once():
    command = dry_run("pretrain", "ARGS=~callbacks.image_logger +trainer.gradient_clip_val=1")
    assert command.endswith("~callbacks.image_logger +trainer.gradient_clip_val=1")
    assert command.count("gradient_clip_val") == 1
    assert "ARGS" not in command


@pytest.mark.parametrize("target", ["data_download", "data_check", "score", "evaluate"])
def test_every_target_passes_overrides_on(target):
    words = shlex.split(dry_run(target, "some.key=[1,2]", "root=/data"))
    assert words[1:] == ["-m", "tagpose", *target.split("_"), "root=/data", "some.key=[1,2]"]


@pytest.mark.parametrize(
    "name", ["Zürich (2).jpg", "it's.jpg", "R&D;a|b.jpg", "a\\b.jpg", "$HOME*.jpg"]
)
def test_file_names_are_quoted_for_the_shell(name):
    assert shlex.split(dry_run("predict", f"images={name}"))[4:] == [f"images={name}"]
