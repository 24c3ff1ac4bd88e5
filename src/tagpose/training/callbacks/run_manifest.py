"""Callback that records the configuration, data and versions of a run, and reports changes."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info

from tagpose.data.datamodule import PoseDataModule
from tagpose.io import atomic_write, write_json
from tagpose.provenance import (
    describe_changes,
    fingerprint,
    flatten_keys,
    git_revision,
    package_versions,
)

FILE_NAME: Final = "run.json"
_NOT_OF_RESULTS: Final = ("paths", "resume", "run", "logger", "name")  # keys without effect on them


class RunManifest(Callback):
    """Save everything that determines a run's results in its folder and in its checkpoints.

    When a run resumes, differences from the checkpoint are logged.

    Args:
        folder: folder of the run.
        collect: returns JSON-compatible values by name; called on rank 0 only.
        config_files: configuration files to write, from name in the folder to content.
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
        # not earlier: if resuming fails, the files of the previous attempt must remain
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
        """Check that a checkpoint with averaged weights is resumed with averaging.

        Raises:
            ValueError: the checkpoint has averaged weights, but no callback updates them.
        """
        callbacks = trainer.callbacks  # type: ignore[attr-defined] # set in __init__
        is_averaging = any(isinstance(callback, WeightAveraging) for callback in callbacks)
        if "averaging_state" in checkpoint and not is_averaging:
            raise ValueError(
                "the checkpoint contains averaged weights, but the run does not average weights; "
                "resume with callbacks=ema"
            )


def collect_facts(configured: dict[str, Any], data: PoseDataModule) -> dict[str, Any]:
    """Return everything that the results of a run depend on, by name."""
    files = (data.train_split.annotations, data.val_split.annotations)
    options = {name: value for name, value in configured.items() if name not in _NOT_OF_RESULTS}
    return {
        **flatten_keys(options),
        **flatten_keys({"annotations": {file: fingerprint(data.root / file) for file in files}}),
        **flatten_keys({"versions": package_versions()}),
        "code": git_revision(Path(__file__).parent),
    }
