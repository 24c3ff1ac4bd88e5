"""Internals of Lightning that resuming depends on, so that an upgrade fails with their names.

Lightning does not document them. If one of these tests fails after an upgrade, check the function
named in it before anything else.
"""

import inspect
import warnings
from functools import reduce

import pytest
from hydra.utils import instantiate
from lightning import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from helpers.short_training import BATCHES, configuration, train

# attribute of the Trainer -> what reads it
TRAINER_ATTRIBUTES = {
    "fit_loop.epoch_loop.batch_progress.is_last_batch": "ResumableCheckpoint.on_train_batch_end",
    "fit_loop.epoch_progress.current.processed": "resumable_checkpoint._is_last_epoch",
    "fit_loop.total_batch_idx": "resumable_checkpoint._validation_follows",
    "val_check_batch": "resumable_checkpoint._validation_follows",
    "enable_validation": "resumable_checkpoint._validation_follows",
    "check_val_every_n_epoch": "resumable_checkpoint._validation_follows",
    "max_epochs": "resumable_checkpoint._is_last_epoch",
    "max_steps": "resumable_checkpoint._is_last_epoch",
    "should_stop": "resumable_checkpoint._is_last_epoch",
    "strategy.launcher": "ResumableCheckpoint.setup",
}


class ReadAttributes(Callback):
    """Record the values of the attributes after each batch and each epoch."""

    def __init__(self):
        self.batches, self.epochs = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append(read_attributes(trainer) | {"batch_idx": batch_idx})

    def on_train_epoch_end(self, trainer, module):
        self.epochs.append(read_attributes(trainer))


def read_attributes(trainer):
    return {name: reduce(getattr, name.split("."), trainer) for name in TRAINER_ATTRIBUTES}


@pytest.fixture(scope="module")
def recorded(people, tmp_path_factory):
    reader = ReadAttributes()
    cfg = configuration(people, tmp_path_factory.mktemp("run"), "~callbacks.ema")
    try:
        train(cfg, reader, max_epochs=2)
    except AttributeError as error:
        pytest.fail(f"Lightning's Trainer has changed: {error}; see {TRAINER_ATTRIBUTES}")
    return reader


def test_progress_counters_have_the_values_that_resuming_expects(recorded):
    name = "fit_loop.epoch_loop.batch_progress.is_last_batch"
    is_last = [row[name] for row in recorded.batches]
    assert is_last == 2 * [*(BATCHES - 1) * [False], True], name
    name = "fit_loop.total_batch_idx"
    assert [row[name] for row in recorded.batches] == [*range(2 * BATCHES)], name
    name = "fit_loop.epoch_progress.current.processed"
    assert [row[name] for row in recorded.epochs] == [1, 2], name
    assert {row["val_check_batch"] for row in recorded.batches} == {BATCHES}, "val_check_batch"


def test_hooks_run_in_the_order_that_resuming_expects():
    advance = inspect.getsource(_TrainingEpochLoop.advance)
    order = ["is_last_batch = ", "increment_processed", "on_train_batch_end", "increment_completed"]
    positions = [advance.find(call) for call in order]
    assert -1 not in positions, dict(zip(order, positions, strict=True))
    assert positions == sorted(positions), "_TrainingEpochLoop.advance calls hooks in another order"
    end = inspect.getsource(_TrainingEpochLoop.on_advance_end)
    assert "_should_check_val_fx" in end, "_TrainingEpochLoop.on_advance_end"


def test_classes_have_the_attributes_that_callbacks_read(people, tmp_path):
    assert callable(_SubprocessScriptLauncher.kill), "ResumableCheckpoint.setup forwards signals"
    assert issubclass(EMAWeightAveraging, WeightAveraging), "NonFiniteGuard.setup"
    best = instantiate(configuration(people, tmp_path).callbacks.best_checkpoint)
    assert isinstance(best, ModelCheckpoint)
    assert best.state_key.startswith("ModelCheckpoint"), "checkpoint_io._relocate_best_path"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the folder exists
        assert {"best_model_path", "dirpath"} <= best.state_dict().keys(), "_relocate_best_path"
