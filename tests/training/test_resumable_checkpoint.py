"""The steps after which `last.ckpt` is written."""

from functools import partial
from types import SimpleNamespace

import pytest
from hydra.utils import instantiate
from lightning import Callback

from helpers.short_training import BATCHES, EPOCHS, configuration, result, train
from tagpose.training.checkpoint_io import AtomicCheckpointIO

MINUTE = 60.0
slow = partial(pytest.param, marks=pytest.mark.slow)


class RecordingCheckpointIO(AtomicCheckpointIO):
    """Record the steps of the written checkpoints."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        self.steps.append(checkpoint["global_step"])
        super().save_checkpoint(checkpoint, path, storage_options)


class MinutePerStep(Callback):
    """Make each step take a minute, and record the age of the last checkpoint in steps."""

    def __init__(self, monkeypatch, checkpoint_io):
        self.now, self.checkpoint_io, self.ages = 0.0, checkpoint_io, []
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("tagpose.training.callbacks.resumable_checkpoint.time", clock)

    def on_train_batch_start(self, trainer, module, batch, number):
        last_saved = self.checkpoint_io.steps[-1] if self.checkpoint_io.steps else 0
        self.ages.append(trainer.global_step - last_saved)
        self.now += MINUTE


def run(people, folder, monkeypatch, minutes, **options):
    """Train with `ResumableCheckpoint`; return the saved steps and the checkpoint ages."""
    cfg = configuration(
        people,
        folder,
        f"callbacks.resumable_checkpoint.interval_minutes={minutes}",
        "~callbacks.ema",
    )
    checkpoint_io = RecordingCheckpointIO()
    clock = MinutePerStep(monkeypatch, checkpoint_io)
    checkpoint = instantiate(cfg.callbacks.resumable_checkpoint)
    train(cfg, clock, checkpoint, plugins=[checkpoint_io], **({"limit_val_batches": 1} | options))
    return checkpoint_io.steps, clock.ages


def test_a_checkpoint_is_written_after_the_interval_before_validations_and_at_the_end(
    people, tmp_path, monkeypatch
):
    steps, _ = run(people, tmp_path, monkeypatch, 5)
    assert steps == [5, 10, 11, 16, 21, 23, 24]  # validations follow steps 12 and 24
    steps, _ = run(people, tmp_path, monkeypatch, 1000)
    assert steps == [11, 23, 24]


@pytest.mark.parametrize("minutes", [4, slow(1), slow(7)])
def test_a_killed_run_loses_at_most_the_interval(people, tmp_path, monkeypatch, minutes):
    _, ages = run(people, tmp_path, monkeypatch, minutes)
    assert len(ages) == EPOCHS * BATCHES
    assert max(ages) < minutes


def validation(batches, epochs):
    return {"val_check_interval": batches, "check_val_every_n_epoch": epochs}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        slow({"limit_train_batches": 1}, [1, 3, 4]),
        ({"limit_train_batches": 2, "accumulate_grad_batches": 2}, [1, 3, 4]),
        ({"limit_train_batches": 2, **validation(1, 1)}, [2, 4, 6, 8]),
        ({"limit_train_batches": 3, **validation(2, None)}, [1, 3, 5, 7, 9, 11, 12]),
    ],
)
def test_a_checkpoint_precedes_the_last_step_before_each_validation(
    people, tmp_path, monkeypatch, options, expected
):
    steps, _ = run(people, tmp_path, monkeypatch, 1000, **options)
    assert steps == expected


@pytest.mark.parametrize("options", [{"max_steps": 9}, {"limit_val_batches": 0, "max_epochs": 3}])
def test_a_finished_run_has_a_checkpoint_of_its_last_step(people, tmp_path, monkeypatch, options):
    steps, ages = run(people, tmp_path, monkeypatch, 1000, **options)
    assert steps == [len(ages)]


@pytest.mark.parametrize("epochs", [slow(2), 3])  # no validation follows the third epoch
def test_a_finished_run_resumed_for_more_epochs_equals_a_single_longer_run(
    people, tmp_path, epochs
):
    # a schedule that does not depend on the number of epochs
    schedule = ("optimization=multistep", "optimization.lr_schedule.gamma=1")
    cfg = configuration(people, tmp_path, *schedule)
    expected = result(*train(cfg))
    train(cfg, instantiate(cfg.callbacks.resumable_checkpoint), max_epochs=epochs)
    resumed = result(*train(cfg, start=tmp_path / "last.ckpt"))
    assert resumed.seen == expected.seen[-len(resumed.seen) :]
    assert len(resumed.seen) == (EPOCHS - epochs) * BATCHES + 1
    assert resumed.end == expected.end
