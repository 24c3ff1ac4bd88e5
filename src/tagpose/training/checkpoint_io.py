"""This file keeps what a run goes on from: whole files, finite weights, the newest of them."""

import os
import warnings
from pathlib import Path
from typing import Any, Final

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from tagpose.io import remove_stale_files
from tagpose.models.checkpoint import read_global_step, read_tensors, write_torch

_TEMPORARY: Final = "*.tmp.ckpt"  # what `writing.whole` leaves of a process that was killed
# of a checkpoint: weights, and those that Lightning's average of weights stands in front of
_CHECKED_KEYS: Final = {"state_dict", "current_model_state", "optimizer_states"}


class AtomicCheckpointIO(TorchCheckpointIO):
    """How Lightning writes checkpoints: whole or not at all, and on the disk before it goes on.

    Lightning's own way stages a file elsewhere and copies it where the two lie on different disks:
    who is killed meanwhile, or fills the disk, loses the checkpoint before, too.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: the disk is full or may not be written; what was there stays.
            ValueError: a tensor of it has numbers that are not finite; what was there stays.
        """
        for part in _CHECKED_KEYS & checkpoint.keys():
            if name := _find_non_finite(checkpoint[part], part):
                raise ValueError(
                    f"{path} is not written, because {name} has numbers that are not finite; what "
                    "was there before is left as it is"
                )
        write_torch(Path(path), checkpoint, fsync=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint, whatever is asked without running anything that is in it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not whole, or holds more than tensors and numbers.
        """
        del map_location, weights_only
        content: dict[str, Any] = read_tensors(Path(path))
        return _relocate_best_path(content, Path(path))


def _relocate_best_path(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """A checkpoint that says of the best one beside it where it is, wherever both were moved.

    Lightning forgets which score was the best if the folder has another name than before, and
    writes the next one over it.
    """
    folder = os.path.realpath(file.parent)
    states = content.get("callbacks", {})
    for name, state in states.items():
        best = Path(state["best_model_path"]).name if name.startswith("ModelCheckpoint") else ""
        if best and (file.parent / best).exists():
            states[name] = _replace_folder(state, state["dirpath"], folder)
    return content


def _replace_folder(content: Any, before: str, now: str) -> Any:
    """A tree of dicts in which paths, keys too, begin with another folder."""
    if isinstance(content, dict):
        return {
            _replace_folder(k, before, now): _replace_folder(v, before, now)
            for k, v in content.items()
        }
    inside = isinstance(content, str) and (content == before or content.startswith(f"{before}/"))
    return now + content[len(before) :] if inside else content


def find_latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of a folder with the most steps; those that are not whole are told.

    Args:
        folder: of a run, which may not be there yet.

    Raises:
        ValueError: there are some, and none is whole.
    """
    steps = {}
    for file in sorted(folder.glob("*.ckpt")):
        try:
            steps[file] = read_global_step(file)
        except ValueError as error:
            warnings.warn(f"left aside: {error}", stacklevel=2)
    if not steps and any(folder.glob("*.ckpt")):
        raise ValueError(
            f"none of the checkpoints in {folder} is whole; another run=NAME begins anew"
        )
    return max(steps, key=lambda file: steps[file], default=None)


def remove_temporary_checkpoints(folder: Path) -> None:
    """Remove temporary checkpoints of processes that were killed while they wrote them."""
    remove_stale_files(folder, _TEMPORARY)


def _find_non_finite(content: object, name: str) -> str | None:
    """The name of a tensor with a number that is not finite, if there is one in a tree of them."""
    if isinstance(content, Tensor):
        return None if bool(content.isfinite().all()) else name
    if isinstance(content, list):
        content = dict(enumerate(content))
    inner = content.items() if isinstance(content, dict) else ()
    return next(
        filter(None, (_find_non_finite(value, f"{name}.{key}") for key, value in inner)), None
    )
