"""Checkpoint files: atomic writes of finite weights."""

import os
from pathlib import Path
from typing import Any, Final

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from tagpose.models.checkpoint import read_tensors, write_torch

# `current_model_state`: the weights in training, where `state_dict` has their average
_CHECKED_KEYS: Final = {"state_dict", "current_model_state", "optimizer_states"}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint plugin that writes atomically, flushes to disk, and rejects non-finite weights.

    Lightning itself stages a file in another folder and copies it if the two are on different
    disks. If the process is killed meanwhile or the disk is full, the previous checkpoint is lost.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: the disk is full or not writable; an existing file remains.
            ValueError: a tensor has non-finite values; an existing file remains.
        """
        for part in _CHECKED_KEYS & checkpoint.keys():
            if name := _find_non_finite(checkpoint[part], part):
                raise ValueError(
                    f"{path} is not written, because {name} has non-finite values; resume from the "
                    "previous checkpoint with a lower optimization.optimizer.lr"
                )
        write_torch(Path(path), checkpoint, fsync=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint to the CPU, never unpickling code, whatever `weights_only` is.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file is damaged, or contains more than tensors and plain values.
        """
        del map_location, weights_only
        content: dict[str, Any] = read_tensors(Path(path))
        return _relocate_best_path(content, Path(path))


def _relocate_best_path(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """Update the path of the best checkpoint if it was moved together with this one.

    Lightning forgets the best score if the folder has another name than before, and overwrites the
    best checkpoint after the next validation.
    """
    folder = os.path.realpath(file.parent)
    states = content.get("callbacks", {})
    for name, state in states.items():
        best = Path(state["best_model_path"]).name if name.startswith("ModelCheckpoint") else ""
        if best and (file.parent / best).exists():
            states[name] = _relocate_paths(state, state["dirpath"], folder)
    return content


def _relocate_paths(content: Any, before: str, now: str) -> Any:
    """Replace a folder at the start of all paths, keys included, in nested dicts."""
    if isinstance(content, dict):
        return {
            _relocate_paths(k, before, now): _relocate_paths(v, before, now)
            for k, v in content.items()
        }
    is_inside = isinstance(content, str) and (content == before or content.startswith(f"{before}/"))
    return now + content[len(before) :] if is_inside else content


def _find_non_finite(content: object, name: str) -> str | None:
    """Return the name of a non-finite tensor in a checkpoint's nested dicts and lists, or None."""
    if isinstance(content, Tensor):
        return None if bool(content.isfinite().all()) else name
    if isinstance(content, list):
        content = dict(enumerate(content))
    items = content.items() if isinstance(content, dict) else ()
    names = (_find_non_finite(value, f"{name}.{key}") for key, value in items)
    return next(filter(None, names), None)
