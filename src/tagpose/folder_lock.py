"""Folder locks: one process owns a folder until it ends, in whatever way it ends."""

import errno
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import Final

from filelock import FileLock, Timeout

LOCK_NAME: Final = ".lock"
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_READ_ATTEMPTS: Final = 10  # the owner writes its name right after it took the lock


class FolderInUseError(RuntimeError):
    """A folder is owned by another process."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Own a folder, so that no other process trains in it, overwrites it or removes it.

    See `lock_file` for what the lock promises.

    Args:
        folder: created if it is missing.

    Raises:
        FolderInUseError: another process owns the folder.
    """
    with lock_file(folder / LOCK_NAME, what=str(folder)):
        yield


@contextmanager
def lock_file(file: Path, *, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold an exclusive kernel lock (`flock`) on a file, which stays when the lock is released.

    The kernel releases the lock when the process ends, also after SIGKILL. Forked processes, such
    as the workers of a DataLoader, do not keep it. Over NFS (Linux) the lock holds between machines
    unless it is mounted with `nolock` or `local_lock`. If the file system has no locks, a warning
    is given and nothing is locked.

    Args:
        file: the lock file, which names the owner; its folder is created if it is missing.
        what: name of what is locked, for messages.
        wait: seconds to wait for another owner.

    Raises:
        FolderInUseError: another process still holds the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # a lock that is a mere file would outlive a process that is killed
    lock = FileLock(file, timeout=wait, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            f"{what} is in use by {_owner(file)}; wait until it ends, or use another folder"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"{what} is not locked, because its file system has no locks ({error.strerror}); do "
            "not start a second process in it",
            stacklevel=4,  # the caller of lock_folder
        )
        yield
        return
    try:
        with suppress(OSError):  # a full disk; the lock itself needs no room
            file.write_text(f"process {os.getpid()} on {gethostname()}")
        yield
    finally:
        lock.release()


def _owner(file: Path) -> str:
    """Return the owner that a lock file names."""
    for _ in range(_READ_ATTEMPTS):
        with suppress(OSError):
            if owner := file.read_text():
                return owner
        time.sleep(0.01)
    return "another process"
