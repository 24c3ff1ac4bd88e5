"""Trainings of seconds, as the configuration describes them, in the process of a test."""

import warnings
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint

from helpers.run_scripts import ROOT
from tagpose.training.callbacks.run_manifest import RunManifest
from tagpose.training.checkpoint_io import AtomicCheckpointIO

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

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            scores = [float(trainer.callback_metrics[name]) for name in SCORES]
            self.seen.append((trainer.global_step, *scores))


def digest(*tensors):
    hashed = sha256()
    for tensor in tensors:
        hashed.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return hashed.hexdigest()[:12]


def configuration(people, folder, *overrides):
    words = [
        "experiment=demo_pretrain", f"data.root={people}", "data.batch_size=2",
        "data.val_batch_size=2", "data.num_workers=0", "input_size=64", f"paths.run={folder}",
        "data.transforms.color.p=0.5", *overrides,
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", words)


def train(cfg, *callbacks, start=None, any_rate=True, **options):
    """Train in this process, at whatever learning rate; the trainer and what was seen."""
    seed_everything(0, verbose=False)
    data = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    module = instantiate(cfg.model, _convert_="object")
    own = instantiate(cfg.callbacks, _convert_="object")
    diary = Diary()
    saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
    common = {
        "accelerator": "cpu", "max_epochs": EPOCHS, "check_val_every_n_epoch": 2,
        "num_sanity_val_steps": 0, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": saves,
        "use_distributed_sampler": False, "plugins": [AtomicCheckpointIO()],
    }  # fmt: skip
    chosen = [own[name] for name in ("part_ap", "nan_guard", "ema") if name in own]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended")
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")
        if any_rate:
            warnings.filterwarnings("ignore", message="an optimizer step has")
        trainer = Trainer(
            callbacks=[*chosen, RunManifest(Path(cfg.paths.run), dict, {}), diary, *callbacks],
            **(common | options),
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
