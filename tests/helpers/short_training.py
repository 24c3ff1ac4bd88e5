"""Short training runs of the real configuration in the process of a test."""

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
    """Result of a run."""

    end: dict[str, str]  # digests of the final weights, optimizer state and averages, by name
    seen: list[tuple]  # batches and validations in order


class RecordBatches(Callback):
    """Record the training batches and the validation scores."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        self.seen.append((trainer.current_epoch, number, digest(batch.image, batch.keypoints)))

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            scores = [float(trainer.callback_metrics[name]) for name in SCORES]
            self.seen.append((trainer.global_step, *scores))


def digest(*tensors):
    """Return a short hash of tensors."""
    sha = sha256()
    for tensor in tensors:
        sha.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return sha.hexdigest()[:12]


def configuration(people, folder, *overrides):
    """Compose the configuration of a short training run."""
    all_overrides = [
        "experiment=demo_pretrain", f"data.root={people}", "data.batch_size=2",
        "data.val_batch_size=2", "data.num_workers=0", "input_size=64", f"paths.run={folder}",
        "data.transforms.color.p=0.5", *overrides,
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", all_overrides)


def train(cfg, *callbacks, start=None, any_rate=True, **options):
    """Train in this process; return the trainer and the recorded batches.

    Args:
        cfg: composed configuration.
        callbacks: callbacks in addition to those that affect the results.
        start: checkpoint to resume from.
        any_rate: whether to ignore the warning about the learning rate.
        options: options of the Trainer.
    """
    seed_everything(0, verbose=False)
    data = instantiate(cfg.data, _convert_="object")
    data.setup("fit")
    module = instantiate(cfg.model, _convert_="object")
    configured = instantiate(cfg.callbacks, _convert_="object")
    recorder = RecordBatches()
    has_checkpoints = any(isinstance(callback, Checkpoint) for callback in callbacks)
    common = {
        "accelerator": "cpu", "max_epochs": EPOCHS, "check_val_every_n_epoch": 2,
        "num_sanity_val_steps": 0, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": has_checkpoints,
        "use_distributed_sampler": False, "plugins": [AtomicCheckpointIO()],
    }  # fmt: skip
    names = [name for name in ("part_ap", "nan_guard", "ema") if name in configured]
    manifest = RunManifest(Path(cfg.paths.run), dict, {})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended")
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")
        if any_rate:
            warnings.filterwarnings("ignore", message="an optimizer step has")
        trainer = Trainer(
            callbacks=[*(configured[name] for name in names), manifest, recorder, *callbacks],
            **(common | options),
        )
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    return trainer, recorder.seen


def result(trainer, seen):
    """Return the result of a run, for comparisons."""
    module = trainer.lightning_module
    end = {name: digest(tensor) for name, tensor in module.state_dict().items()}
    moments = trainer.optimizers[0].state_dict()["state"]
    end |= {f"{n}.{k}": digest(v) for n, state in moments.items() for k, v in state.items()}
    for callback in trainer.callbacks:
        average = getattr(callback, "_average_model", None)
        if average:
            end |= {f"average.{n}": digest(t) for n, t in average.state_dict().items()}
    end["rate"] = str(trainer.optimizers[0].param_groups[0]["lr"])
    return Run(end, seen)
