"""Training runs in processes of their own, and comparisons of their checkpoints."""

from pathlib import Path

import torch

from helpers.run_scripts import found_first, run
from tagpose.models.checkpoint import read_tensors

PROGRAMS = found_first(Path(__file__).parents[1] / "programs")
EPOCHS = 4


def words(people, name, *more):
    """Return the overrides of a short training run."""
    return (
        "experiment=demo_pretrain", f"data.root={people}", "data.batch_size=2",
        "data.num_workers=0", "input_size=64", "logger=csv", "trainer.accelerator=cpu",
        "trainer.precision=32-true", f"trainer.max_epochs={EPOCHS}", "~callbacks.image_logger",
        f"run={name}", *more,
    )  # fmt: skip


def signal_at(step, number, rank=0, kind="Signal"):
    """Return overrides that send a signal at a step."""
    return at_step(kind, step=step, number=int(number), rank=rank)


def at_step(kind, **options):
    """Return overrides that add a callback of at_step.py to a training run."""
    node = {"_target_": f"at_step.{kind}", **options}
    return [f"+callbacks.at.{name}={value}" for name, value in node.items()]


def train(people, folder, name, *more, **environment):
    """Run the training program and return the finished process."""
    return run("train", *words(people, name, *more), cwd=folder, **PROGRAMS, **environment)


def last(folder, name):
    """Return the path of the last checkpoint of a run."""
    return folder / "runs/demo_pretrain" / name / "last.ckpt"


def assert_same(first, second):
    """Assert that weights, optimizer states and averages of two checkpoints are equal."""
    parts = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
    contents = [read_tensors(file) for file in (first, second)]
    assert contents[0]["global_step"] == contents[1]["global_step"]
    for part in parts:
        left, right = (dict(leaves(content[part])) for content in contents)
        assert left.keys() == right.keys()
        assert [name for name in left if not torch.equal(left[name], right[name])] == []


def leaves(content, name=""):
    """Yield the names and tensors in nested dicts and lists."""
    if isinstance(content, torch.Tensor):
        yield name, content
    children = dict(enumerate(content)) if isinstance(content, list) else content
    for key, value in children.items() if isinstance(children, dict) else ():
        yield from leaves(value, f"{name}.{key}")
