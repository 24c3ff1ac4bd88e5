"""What stands on make's command line reaches Hydra."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def dry(*words):
    """The last command that make would run."""
    # `make test` hands its own flags and variables to the makes below it
    own = ("MAKE", "ARGS")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    result = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, env=plain, text=True, capture_output=True,
        check=True,
    )  # fmt: skip
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_overrides_reach_the_script_and_the_stage_is_its_experiment(stage):
    command = dry(stage, "model=hrnet_w48", "trainer.devices=8", "data.root=/data/coco")
    assert "scripts/train.py" in command
    words = {f"experiment={stage}", "model=hrnet_w48", "trainer.devices=8", "data.root=/data/coco"}
    assert words <= set(command.split())


def test_another_experiment_takes_the_place_of_the_stage():
    command = dry("finetune", "experiment=overfit")
    assert command.count("experiment=") == 1


def test_what_make_cannot_parse_goes_through_args_once():
    command = dry("pretrain", "ARGS=~callbacks.panel +trainer.gradient_clip_val=1")
    assert command.endswith("~callbacks.panel +trainer.gradient_clip_val=1")
    assert command.count("gradient_clip_val") == 1
    assert "ARGS" not in command


@pytest.mark.parametrize("target", ["import", "publish"])
def test_a_checkpoint_may_be_named_in_capitals(target):
    assert dry(target, "CHECKPOINT=a.pth").split()[2:] == ["checkpoint=a.pth"]


@pytest.mark.parametrize("target", ["coco", "inspect", "score", "evaluate"])
def test_every_target_hands_on_what_is_overridden(target):
    assert dry(target, "some.key=[1,2]", "root=/data").split()[2:] == [
        "root=/data",
        "some.key=[1,2]",
    ]
