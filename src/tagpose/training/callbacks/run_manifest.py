"""This file writes down what a run is made of, and tells what has changed when it goes on."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info

from tagpose.data.datamodule import PoseDataModule
from tagpose.io import atomic_write, write_json

FILE_NAME: Final = "run.json"
_MISSING: Final = "nothing"


class RunManifest(Callback):
    """Keeps what a run is made of in its folder and in its checkpoints.

    Args:
        folder: of the run.
        collect: names and values of all that can change numbers, for JSON; called by one process.
        config_files: files that tell what it was result, by their names in the folder.
    """

    def __init__(
        self, folder: Path, collect: Callable[[], dict[str, Any]], config_files: Mapping[str, str]
    ) -> None:
        self.file, self.collect, self.config_files = folder / FILE_NAME, collect, config_files
        self.content: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            self.content = self.collect()
            self.content["processes"] = trainer.world_size

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not before: an attempt to go on that is refused leaves what is true
        if trainer.is_global_zero:
            write_json(self.file, self.content)
            for name, text in self.config_files.items():
                with atomic_write(self.file.parent / name) as partial:
                    partial.write_text(text)
            data: PoseDataModule = trainer.datamodule  # type: ignore[attr-defined] # set by fit
            for split, listing in data.skip_listings.items():
                name = f"skipped_images_{Path(split.images).name}.txt"
                shutil.copyfile(listing, self.file.with_name(name))

    def state_dict(self) -> dict[str, Any]:
        return self.content

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for line in describe_changes(state_dict, self.content):
            rank_zero_info(f"changed since the checkpoint: {line}")

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse what nothing here goes on with.

        Raises:
            ValueError: the weights are an average, in front of those that are trained.
        """
        callbacks = trainer.callbacks  # type: ignore[attr-defined] # set by its constructor
        averages = [one for one in callbacks if isinstance(one, WeightAveraging)]
        if "averaging_state" in checkpoint and not averages:
            raise ValueError(
                "the checkpoint keeps an average of the weights; callbacks=ema goes on with both"
            )


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each name whose value is another."""
    names = sorted({*before, *now})
    both = [(name, before.get(name, _MISSING), now.get(name, _MISSING)) for name in names]
    return [f"{name} was {was}, is {value}" for name, was, value in both if was != value]


def flatten_keys(content: object, name: str = "") -> dict[str, Any]:
    """A tree of dicts as one, by names with dots."""
    if not isinstance(content, dict):
        return {name: content}
    return {
        inner: value
        for key, one in content.items()
        for inner, value in flatten_keys(one, f"{name}.{key}".lstrip(".")).items()
    }


def git_revision(folder: Path) -> str:
    """The commit of a checkout, marked where files differ from it; of no checkout, nothing."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return _MISSING
    return result.stdout.strip()
