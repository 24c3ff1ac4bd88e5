"""What stands on make's command line reaches Hydra."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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
    assert "-m tagpose train " in command
    words = {f"experiment={stage}", "model=hrnet_w48", "trainer.devices=8", "data.root=/data/coco"}
    assert words <= set(shlex.split(command))


def test_another_experiment_takes_the_place_of_the_stage():
    command = dry("finetune", "experiment=overfit")
    assert command.count("experiment=") == 1


def test_what_make_cannot_parse_goes_through_args_once():
    command = dry("pretrain", "ARGS=~callbacks.image_logger +trainer.gradient_clip_val=1")
    assert command.endswith("~callbacks.image_logger +trainer.gradient_clip_val=1")
    assert command.count("gradient_clip_val") == 1
    assert "ARGS" not in command


@pytest.mark.parametrize("target", ["data_download", "data_check", "score", "evaluate"])
def test_every_target_hands_on_what_is_overridden(target):
    words = shlex.split(dry(target, "some.key=[1,2]", "root=/data"))
    assert words[1:] == ["-m", "tagpose", *target.split("_"), "root=/data", "some.key=[1,2]"]


@pytest.mark.parametrize(
    "name", ["Zürich (2).jpg", "it's.jpg", "R&D;a|b.jpg", "a\\b.jpg", "$HOME*.jpg"]
)
def test_the_shell_reads_nothing_into_the_name_of_a_file(name):
    assert shlex.split(dry("predict", f"images={name}"))[4:] == [f"images={name}"]
