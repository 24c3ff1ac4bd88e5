"""A run that goes on is the run that was never stopped: data, weights, moments, scores."""

import warnings
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint

from running import ROOT
from tagpose.training.checkpoints import WholeFiles
from tagpose.training.record import Record

EPOCHS, BATCHES = 4, 6
SCORES = ("val/loss/total", "val/ap/body")


class Run(NamedTuple):
    """What is left of a run."""

    end: dict[str, str]  # a digest of everything by its name
    seen: list[tuple]  # batches and validations, one after the other


class Diary(Callback):
    """Notes what is learned from and what is found."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        self.seen.append((trainer.current_epoch, number, digest(batch.image, batch.keypoints)))

    def on_validation_epoch_end(self, trainer, module):
        if not trainer.sanity_checking:
            scores = [float(trainer.callback_metrics[name]) for name in SCORES]
            self.seen.append((trainer.global_step, *scores))


class SaveAll(Checkpoint):
    """Saves wherever this project's callbacks may."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if not last and (number + 1) % trainer.accumulate_grad_batches == 0:
            trainer.save_checkpoint(self.folder / f"batch{trainer.global_step}.ckpt")

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"validation{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer, module):
        trainer.save_checkpoint(self.folder / f"epoch{trainer.global_step}.ckpt")


def digest(*tensors):
    hashed = sha256()
    for tensor in tensors:
        hashed.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return hashed.hexdigest()[:12]


def configuration(people, folder, *overrides):
    words = [
        "experiment=demo_pretrain", f"data.root={people}", "data.batch_size=2",
        "data.val_batch_size=2", "data.workers=0", "side=64", f"paths.run={folder}",
        "data.transforms.colour.p=0.5", *overrides,
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", words)


def train(cfg, *callbacks, start=None, **options):
    """Train in this process; the trainer and what was seen."""
    seed_everything(0, verbose=False)
    data = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    module = instantiate(cfg.model, _convert_="object")
    own = instantiate(cfg.callbacks, _convert_="object")
    diary = Diary()
    common = {
        "accelerator": "cpu", "max_epochs": EPOCHS, "check_val_every_n_epoch": 2, "num_sanity_val_steps": 0,
        "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
        "use_distributed_sampler": False, "plugins": [WholeFiles()],
    }  # fmt: skip
    chosen = [own[name] for name in ("part_ap", "finite", "ema") if name in own]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended")
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")
        trainer = Trainer(
            callbacks=[*chosen, Record(Path(cfg.paths.run), dict), diary, *callbacks],
            **(common | {"enable_checkpointing": bool(callbacks)} | options),
        )
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    return trainer, diary.seen


def result(trainer, seen):
    module = trainer.lightning_module
    end = {name: digest(tensor) for name, tensor in module.state_dict().items()}
    moments = trainer.optimizers[0].state_dict()["state"]
    end |= {f"{n}.{k}": digest(v) for n, one in moments.items() for k, v in one.items()}
    for callback in trainer.callbacks:
        average = getattr(callback, "_average_model", None)
        if average:
            end |= {f"average.{n}": digest(t) for n, t in average.state_dict().items()}
    end["rate"] = str(trainer.optimizers[0].param_groups[0]["lr"])
    return Run(end, seen)


@pytest.fixture(scope="module")
def never_stopped(people, tmp_path_factory):
    """A run that was never stopped, and a folder of checkpoints from all over it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return folder, result(*train(configuration(people, folder), SaveAll(folder)))


STOPS = ["batch2", "batch11", "validation12", "epoch6", "epoch12", "batch17"]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_is_the_one_that_was_never_stopped(
    people, never_stopped, stop, workers, tmp_path
):
    folder, expected = never_stopped
    cfg = configuration(people, tmp_path, f"data.workers={workers}")
    found = result(*train(cfg, start=folder / f"{stop}.ckpt"))
    assert found.seen == expected.seen[-len(found.seen) :]
    steps = int("".join(filter(str.isdigit, stop)))
    assert sum(len(one) == 3 and isinstance(one[2], str) for one in found.seen) == (
        EPOCHS * BATCHES - steps
    )
    assert found.end == expected.end


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_run_with_added_batches_goes_on_as_if_it_was_never_stopped(people, accumulate, tmp_path):
    cfg = configuration(people, tmp_path)
    options = {"accumulate_grad_batches": accumulate}
    expected = result(*train(cfg, SaveAll(tmp_path), **options))
    for file in sorted(tmp_path.glob("batch*.ckpt")):
        assert result(*train(cfg, start=file, **options)).end == expected.end, file.name


def test_another_batch_goes_on_from_an_epochs_end_alone(people, never_stopped, tmp_path):
    folder, _ = never_stopped
    cfg = configuration(people, tmp_path, "data.batch_size=3")
    with pytest.raises(ValueError, match=r"'images a batch': 2.*'images a batch': 3"):
        train(cfg, start=folder / "batch11.ckpt")
    trainer, seen = train(cfg, start=folder / "epoch18.ckpt")
    assert trainer.current_epoch == EPOCHS
    assert len(seen) == 4 + 1  # batches, a validation


def test_an_average_of_weights_goes_on_as_one_or_not_at_all(people, never_stopped, tmp_path):
    folder, _ = never_stopped
    cfg = configuration(people, tmp_path, "~callbacks.ema")
    with pytest.raises(ValueError, match="callbacks=ema"):
        train(cfg, start=folder / "batch11.ckpt")


def test_another_rate_counts_from_where_the_run_goes_on(people, never_stopped, tmp_path):
    folder, expected = never_stopped
    cfg = configuration(people, tmp_path, "optimization.optimizer.lr=4.0e-3")  # half
    found = result(*train(cfg, start=folder / "batch11.ckpt"))
    assert float(found.end["rate"]) == pytest.approx(float(expected.end["rate"]) / 2)
