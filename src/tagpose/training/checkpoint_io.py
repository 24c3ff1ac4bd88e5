"""Checkpoint files: atomic writes of finite weights, and the checkpoint to resume from."""

import os
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from torch import Tensor

from tagpose.io import remove_stale_files
from tagpose.models.checkpoint import read_tensors, write_torch

_TEMPORARY: Final = "*.tmp.ckpt"  # files that `atomic_write` leaves if its process is killed
# `current_model_state`: the weights in training, where `state_dict` has their average
_CHECKED_KEYS: Final = {"state_dict", "current_model_state", "optimizer_states"}
_AUTO: Final = "auto"


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


def find_resume_checkpoint(resume: str | None, folder: Path, *, is_named: bool) -> Path | None:
    """Return the checkpoint to resume from, or None for a new run.

    Args:
        resume: a checkpoint, or auto for the latest one of the folder.
        folder: folder of the run.
        is_named: whether the same command would use the same folder again.

    Raises:
        ValueError: the folder is ambiguous, or has checkpoints that would be overwritten.
    """
    is_worker = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_PROCID", 0)) > 0
    if not is_named and (resume == _AUTO or is_worker):
        raise ValueError(
            "the run has no name, which resume=auto and runs of several processes need to find "
            "their folder; set run=NAME"
        )
    if resume == _AUTO:
        latest = find_latest_checkpoint(folder)
        status = f"Resuming from {latest}" if latest else f"Starting a new run in {folder}"
        rank_zero_only(print)(status)
        return latest
    file = Path(resume) if resume else None
    is_inside = file is not None and file.resolve().parent == folder.resolve()
    if any(folder.glob("*.ckpt")) and not is_inside:
        raise ValueError(
            f"{folder} has checkpoints of an earlier run; set resume=auto to resume it, or another "
            "run=NAME to start a new one"
        )
    return file


def remove_temporary_checkpoints(folder: Path) -> None:
    """Remove the temporary checkpoints of killed processes."""
    remove_stale_files(folder, _TEMPORARY)


def _find_non_finite(content: object, name: str) -> str | None:
    """Return the name of a tensor with non-finite values in nested dicts and lists, or None."""
    if isinstance(content, Tensor):
        return None if bool(content.isfinite().all()) else name
    if isinstance(content, list):
        content = dict(enumerate(content))
    items = content.items() if isinstance(content, dict) else ()
    names = (_find_non_finite(value, f"{name}.{key}") for key, value in items)
    return next(filter(None, names), None)
