"""Numbers that are not finite reach no weight, no checkpoint and no score."""

import math

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint

from short_training import BATCHES, configuration, train
from tagpose.model.files import read_tensors
from tagpose.training.checkpoints import WholeFiles


class Break(Callback):
    """Breaks the loss of chosen steps, or the gradient of a weight, or the network itself."""

    def __init__(self, *steps, kind="loss"):
        self.steps, self.kind = steps, kind

    def on_train_batch_start(self, trainer, module, batch, number):
        broken = trainer.global_step in self.steps
        criterion = module.criterion
        module.criterion = Broken(criterion, self.kind) if broken else sound(criterion)


class Broken:
    def __init__(self, criterion, kind):
        self.criterion, self.kind = sound(criterion), kind

    def __call__(self, pyramid, targets):
        return self.criterion(pyramid, targets)

    def total(self, terms):
        total = self.criterion.total(terms)
        if self.kind == "loss":
            return total + math.inf
        total.register_hook(lambda gradient: gradient * math.nan)
        return total


def sound(criterion):
    return criterion.criterion if isinstance(criterion, Broken) else criterion


class Compare(Callback):
    """Notes which steps changed nothing of the network."""

    def __init__(self):
        self.unchanged = []

    def on_train_batch_start(self, trainer, module, batch, number):
        self.before = {name: one.clone() for name, one in module.state_dict().items()}

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        after = module.state_dict()
        same = all(torch.equal(one, after[name]) for name, one in self.before.items())
        if same:
            self.unchanged.append(trainer.global_step - 1)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing_and_its_batch_is_kept(people, kind, tmp_path):
    cfg = configuration(people, tmp_path)
    compare = Compare()
    with pytest.warns(UserWarning, match=r"step 3: loss or gradient is not finite .* \[\d+, \d+\]"):
        trainer, _ = train(cfg, Break(3, kind=kind), compare)
    assert compare.unchanged == [3]
    assert trainer.current_epoch == 4
    assert float(trainer.callback_metrics["train/skipped_steps"]) == 1
    (file,) = (tmp_path / "not_finite").iterdir()
    assert file.name == "step_0000003_rank_0.pt"
    batch = read_tensors(file)
    assert batch["image"].shape == (2, 3, 64, 64)
    moments = trainer.optimizers[0].state_dict()["state"].values()
    assert all(int(one["step"]) == 4 * BATCHES - 1 for one in moments)


def test_a_run_that_diverges_ends_and_says_what_it_saw(people, tmp_path):
    cfg = configuration(people, tmp_path, "callbacks.finite.most=2")
    with (
        pytest.warns(UserWarning, match="it is skipped"),
        pytest.raises(ValueError, match=r"step 9: .* 3 of the last 10 steps; the batches are in"),
    ):
        train(cfg, Break(2, 5, 9))
    assert len(list((tmp_path / "not_finite").iterdir())) == 3


class Poison(Checkpoint):
    """Saves a sound network, then one that is not."""

    def __init__(self, folder):
        self.file = folder / "last.ckpt"

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        trainer.save_checkpoint(self.file)
        next(module.parameters()).data[0] = math.nan


def test_weights_that_are_not_finite_overwrite_no_checkpoint(people, tmp_path):
    cfg = configuration(people, tmp_path)
    with (
        pytest.warns(UserWarning, match="it is skipped"),
        pytest.raises(ValueError, match=r"last\.ckpt is not written, because .*network\.backbone"),
    ):
        train(cfg, Poison(tmp_path))
    assert WholeFiles().load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 1
    assert [file.name for file in tmp_path.glob("*.ckpt")] == ["last.ckpt"]


class Diverged(Callback):
    """Makes a network whose fields are NaN."""

    def on_validation_batch_start(self, trainer, module, batch, number, loader=0):
        module.network.head.bias.data[:] = math.nan


def test_a_network_that_predicts_nan_scores_nothing(people, tmp_path):
    cfg = configuration(people, tmp_path)
    trainer, _ = train(cfg, Diverged(), max_epochs=1, check_val_every_n_epoch=1)
    scores = trainer.callback_metrics
    assert float(scores["val/not_finite"]) == 6
    assert float(scores["val/ap/body"]) == float(scores["val/ar/body"]) == 0
