"""This file writes down what a run is made of, and tells what has changed when it goes on."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info

from tagpose.data.datamodule import PoseData
from tagpose.evaluation.rows import write_json
from tagpose.writing import whole

NAME: Final = "run.json"
_NOT_THERE: Final = "nothing"


class Record(Callback):
    """Keeps what a run is made of in its folder and in its checkpoints.

    Args:
        folder: of the run.
        look: names and values of all that can change numbers, for JSON; called by one process.
        texts: files that tell what it was told, by their names in the folder.
    """

    def __init__(
        self, folder: Path, look: Callable[[], dict[str, Any]], texts: Mapping[str, str]
    ) -> None:
        self.file, self.look, self.texts = folder / NAME, look, texts
        self.made_of: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            self.made_of = self.look()
            self.made_of["processes"] = trainer.world_size

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not before: an attempt to go on that is refused leaves what is true
        if trainer.is_global_zero:
            write_json(self.file, self.made_of)
            for name, text in self.texts.items():
                with whole(self.file.parent / name) as partial:
                    partial.write_text(text)
            data: PoseData = trainer.datamodule  # type: ignore[attr-defined] # set by fit
            for split, listing in data.left_out.items():
                name = f"left_out_{Path(split.images).name}.txt"
                shutil.copyfile(listing, self.file.with_name(name))

    def state_dict(self) -> dict[str, Any]:
        return self.made_of

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for line in changes(state_dict, self.made_of):
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


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each name whose value is another."""
    names = sorted({*before, *now})
    both = [(name, before.get(name, _NOT_THERE), now.get(name, _NOT_THERE)) for name in names]
    return [f"{name} was {was}, is {value}" for name, was, value in both if was != value]


def flat(content: object, name: str = "") -> dict[str, Any]:
    """A tree of dicts as one, by names with dots."""
    if not isinstance(content, dict):
        return {name: content}
    return {
        inner: value
        for key, one in content.items()
        for inner, value in flat(one, f"{name}.{key}".lstrip(".")).items()
    }


def code_version(folder: Path) -> str:
    """The commit of a checkout, marked where files differ from it; of no checkout, nothing."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        told = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return _NOT_THERE
    return told.stdout.strip()
