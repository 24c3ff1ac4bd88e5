"""Ownership of a run's folder: the process of rank 0 owns it for all processes of a training."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from lightning import Callback, LightningModule, Trainer

from tagpose.folder_lock import FolderInUseError, lock_folder

# of torchrun, Lightning (which starts one process for each machine by hand) and SLURM
_RANK_VARIABLES: Final = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
_SIZE_VARIABLES: Final = ("WORLD_SIZE", "SLURM_NTASKS")


@contextmanager
def lock_run(folder: Path, *, nodes: int) -> Iterator["RunLock"]:
    """Own the folder of a run on the process of rank 0; other processes do not lock it.

    Args:
        folder: folder of the run.
        nodes: number of machines of the training.

    Yields:
        The callback by which all processes of the training end if rank 0 does not own the folder.
        Only if other processes run already does it have a refusal to pass on.

    Raises:
        FolderInUseError: another training owns the folder, and no other process of this one runs.
    """
    first = not any(_read_integer(name) for name in _RANK_VARIABLES)
    others = nodes != 1 or any(_read_integer(name) > 1 for name in _SIZE_VARIABLES)
    lock_error = None
    with ExitStack() as stack:
        if first:
            try:
                stack.enter_context(lock_folder(folder))
            except FolderInUseError as error:
                if not others:
                    raise
                lock_error = str(error)
        yield RunLock(lock_error, is_owner=first and not lock_error)


class RunLock(Callback):
    """End all processes of a training if its process of rank 0 was refused the folder.

    Otherwise the others would wait for a process that has ended, 30 minutes by default.

    Args:
        lock_error: reason of the refusal on rank 0, or None.
        is_owner: whether this process owns the folder.
    """

    def __init__(self, lock_error: str | None, *, is_owner: bool) -> None:
        self.lock_error, self.is_owner = lock_error, is_owner

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if lock_error := trainer.strategy.broadcast(self.lock_error):
            raise FolderInUseError(lock_error)


def _read_integer(name: str) -> int:
    """Return the number in an environment variable, 0 if it is not set."""
    value = os.environ.get(name, "0")
    return int(value) if value.isdecimal() else 0
