"""Checkpoint files: atomic writes of finite weights, and the latest checkpoint of a run."""

import os
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from tagpose.io import remove_stale_files
from tagpose.models.checkpoint import read_tensors, write_torch
from tagpose.training.callbacks.nan_guard import find_non_finite

_TEMPORARY: Final = "*.tmp.ckpt"  # files that `atomic_write` leaves if its process is killed
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
            if name := find_non_finite(checkpoint[part], part):
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


def read_global_step(file: Path) -> int:
    """Read the number of training steps of a checkpoint, after checking the whole file for damage.

    Raises:
        ValueError: if the file is damaged or contains no state of a training run.
    """
    try:
        with ZipFile(file) as opened:
            damaged = opened.testzip()
    except Exception as error:  # see `read_tensors`
        raise ValueError(f"{file} is not a complete checkpoint: {error}") from error
    content = read_tensors(file, mmap=True)
    if damaged or not isinstance(content, dict) or "global_step" not in content:
        raise ValueError(f"{file} is not a complete checkpoint of a training run")
    return int(content["global_step"])


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


def find_latest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint with the most steps in a folder; warn about damaged ones.

    Args:
        folder: folder of a run, which may be missing.

    Returns:
        The checkpoint, or None if the folder has none.

    Raises:
        ValueError: all checkpoints are damaged.
    """
    steps = {}
    for file in sorted(folder.glob("*.ckpt")):
        try:
            steps[file] = read_global_step(file)
        except ValueError as error:
            rank_zero_warn(f"skipped a damaged checkpoint: {error}")
    if not steps and any(folder.glob("*.ckpt")):
        raise ValueError(
            f"all checkpoints in {folder} are damaged; start a new run with another run=NAME"
        )
    return max(steps, key=lambda file: steps[file], default=None)


def remove_temporary_checkpoints(folder: Path) -> None:
    """Remove the temporary checkpoints of killed processes."""
    remove_stale_files(folder, _TEMPORARY)
