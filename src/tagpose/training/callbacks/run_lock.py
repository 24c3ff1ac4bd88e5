"""Lock on the folder of a run, held by rank 0 for all processes of a training."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from lightning import Callback, LightningModule, Trainer

from tagpose.locks import FolderInUseError, lock_folder

# set by torchrun, by Lightning (one manually started process per machine) and by SLURM
_RANK_VARIABLES: Final = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
_SIZE_VARIABLES: Final = ("WORLD_SIZE", "SLURM_NTASKS")


@contextmanager
def lock_run(folder: Path, *, nodes: int) -> Iterator["RunLock"]:
    """Lock the folder of a run on rank 0; other ranks do not lock it.

    Args:
        folder: folder of the run.
        nodes: number of machines of the training.

    Yields:
        A callback that ends all processes of the training if rank 0 could not lock the folder. It
        carries an error only if other processes have been started already.

    Raises:
        FolderInUseError: another training holds the lock, and this process is the only one.
    """
    is_first = not any(_read_rank_variable(name) for name in _RANK_VARIABLES)
    has_others = nodes != 1 or any(_read_rank_variable(name) > 1 for name in _SIZE_VARIABLES)
    lock_error = None
    with ExitStack() as stack:
        if is_first:
            try:
                stack.enter_context(lock_folder(folder))
            except FolderInUseError as error:
                if not has_others:
                    raise
                lock_error = str(error)
        yield RunLock(lock_error, is_owner=is_first and not lock_error)


class RunLock(Callback):
    """End all processes of a training if rank 0 could not lock the folder of the run.

    Otherwise the other ranks would wait for rank 0, by default for 30 minutes.

    Args:
        lock_error: error message on rank 0, or None.
        is_owner: whether this process holds the lock.
    """

    def __init__(self, lock_error: str | None, *, is_owner: bool) -> None:
        self.lock_error, self.is_owner = lock_error, is_owner

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if lock_error := trainer.strategy.broadcast(self.lock_error):
            raise FolderInUseError(lock_error)


def _read_rank_variable(name: str) -> int:
    """Return the integer in an environment variable, or 0 if it is not set."""
    value = os.environ.get(name, "0")
    return int(value) if value.isdecimal() else 0
