"""When `last.ckpt` is written, and what is lost without it."""

from functools import partial
from types import SimpleNamespace

import pytest
from hydra.utils import instantiate
from lightning import Callback

from helpers.short_training import BATCHES, EPOCHS, configuration, result, train
from tagpose.training.checkpoint_io import AtomicCheckpointIO

MINUTE = 60.0
slow = partial(pytest.param, marks=pytest.mark.slow)


class Saves(AtomicCheckpointIO):
    """Lists the steps of the checkpoints that are written."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        self.steps.append(checkpoint["global_step"])
        super().save_checkpoint(checkpoint, path, storage_options)


class MinutePerStep(Callback):
    """A clock on which each step takes a minute; it notes how old the last checkpoint is."""

    def __init__(self, monkeypatch, saves):
        self.now, self.saves, self.ages = 0.0, saves, []
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("tagpose.training.callbacks.resumable_checkpoint.time", clock)

    def on_train_batch_start(self, trainer, module, batch, number):
        last_saved = self.saves.steps[-1] if self.saves.steps else 0
        self.ages.append(trainer.global_step - last_saved)
        self.now += MINUTE


def run(people, folder, monkeypatch, minutes, **options):
    """Train with `Last` alone; the steps that it saved and the ages of the last checkpoint."""
    cfg = configuration(
        people,
        folder,
        f"callbacks.resumable_checkpoint.interval_minutes={minutes}",
        "~callbacks.ema",
    )
    saves = Saves()
    clock = MinutePerStep(monkeypatch, saves)
    last = instantiate(cfg.callbacks.resumable_checkpoint)
    train(cfg, clock, last, plugins=[saves], **({"limit_val_batches": 1} | options))
    return saves.steps, clock.ages


def test_it_is_written_after_minutes_before_validations_and_at_the_end(
    people, tmp_path, monkeypatch
):
    steps, _ = run(people, tmp_path, monkeypatch, 5)
    assert steps == [5, 10, 11, 16, 21, 23, 24]  # validations follow the steps 12 and 24
    steps, _ = run(people, tmp_path, monkeypatch, 1000)
    assert steps == [11, 23, 24]


@pytest.mark.parametrize("minutes", [4, slow(1), slow(7)])
def test_a_run_that_is_killed_loses_no_more_than_the_minutes(
    people, tmp_path, monkeypatch, minutes
):
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
def test_it_is_written_before_the_step_of_a_validation_also_in_the_epoch_before(
    people, tmp_path, monkeypatch, options, expected
):
    steps, _ = run(people, tmp_path, monkeypatch, 1000, **options)
    assert steps == expected


@pytest.mark.parametrize("options", [{"max_steps": 9}, {"limit_val_batches": 0, "max_epochs": 3}])
def test_a_finished_run_leaves_its_last_step(people, tmp_path, monkeypatch, options):
    steps, ages = run(people, tmp_path, monkeypatch, 1000, **options)
    assert steps == [len(ages)]


@pytest.mark.parametrize("epochs", [slow(2), 3])  # the end of the third epoch is not validated
def test_a_finished_run_that_is_resumed_for_more_epochs_equals_one_of_as_many(
    people, tmp_path, epochs
):
    rate = ("optimization=multistep", "optimization.lr_schedule.gamma=1")  # whatever the length
    cfg = configuration(people, tmp_path, *rate)
    expected = result(*train(cfg))
    train(cfg, instantiate(cfg.callbacks.resumable_checkpoint), max_epochs=epochs)
    found = result(*train(cfg, start=tmp_path / "last.ckpt"))
    assert found.seen == expected.seen[-len(found.seen) :]
    assert len(found.seen) == (EPOCHS - epochs) * BATCHES + 1
    assert found.end == expected.end
