"""Runs of the program that are stopped, and what is left of them."""

from pathlib import Path

import torch

from helpers.run_scripts import found_first, run
from tagpose.models.checkpoint import read_tensors

PROGRAMS = found_first(Path(__file__).parents[1] / "programs")
EPOCHS = 4


def words(people, name, *more):
    return (
        "experiment=demo_pretrain", f"data.root={people}", "data.batch_size=2", "data.num_workers=0",
        "input_size=64", "logger=csv", "trainer.accelerator=cpu", "trainer.precision=32-true",
        f"trainer.max_epochs={EPOCHS}", "~callbacks.image_logger", f"run={name}", *more,
    )  # fmt: skip


def signal_at(step, number, rank=0, kind="Signal"):
    return at_step(kind, step=step, number=int(number), rank=rank)


def at_step(kind, **told):
    """Overrides that put one of the callbacks of at_step.py into a training."""
    said = {"_target_": f"at_step.{kind}", **told}
    return [f"+callbacks.at.{name}={value}" for name, value in said.items()]


def train(people, folder, name, *more, **environment):
    return run("train", *words(people, name, *more), cwd=folder, **PROGRAMS, **environment)


def last(folder, name):
    return folder / "runs/demo_pretrain" / name / "last.ckpt"


def assert_same(one, other):
    """See that two checkpoints have the same weights, moments and averages, bit for bit."""
    parts = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
    both = [read_tensors(file) for file in (one, other)]
    assert both[0]["global_step"] == both[1]["global_step"]
    for part in parts:
        left, right = (dict(leaves(content[part])) for content in both)
        assert left.keys() == right.keys()
        assert [name for name in left if not torch.equal(left[name], right[name])] == []


def leaves(content, name=""):
    """The tensors of a tree, by name."""
    if isinstance(content, torch.Tensor):
        yield name, content
    inner = content if isinstance(content, dict) else {}
    inner = dict(enumerate(content)) if isinstance(content, list) else inner
    for key, one in inner.items():
        yield from leaves(one, f"{name}.{key}")
