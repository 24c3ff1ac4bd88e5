"""Locks on folders, files and caches that end with their process, also after SIGKILL."""

import errno
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import Final

from filelock import FileLock, Timeout

LOCK_NAME: Final = ".lock"
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_READ_ATTEMPTS: Final = 10  # the owner writes its name right after acquiring the lock


class FolderInUseError(RuntimeError):
    """The folder is locked by another process."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other process trains in it, overwrites it or removes it.

    `lock_file` describes the guarantees.

    Args:
        folder: the folder, which is created if it is missing.

    Raises:
        FolderInUseError: another process holds the lock.
    """
    with lock_file(folder / LOCK_NAME, what=str(folder)):
        yield


@contextmanager
def lock_file(file: Path, *, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold an exclusive kernel lock (`flock`) on a file; the file remains after the release.

    The kernel releases the lock when the process ends, also after SIGKILL. Forked processes, such
    as DataLoader workers, do not keep it. Over NFS (Linux) the lock holds between machines unless
    the file system is mounted with `nolock` or `local_lock`. On a file system without locks, this
    function warns and locks nothing.

    Args:
        file: the lock file, which names the owner; its folder is created if it is missing.
        what: name of the locked resource in messages.
        wait: seconds to wait for the current owner.

    Raises:
        FolderInUseError: another process still holds the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # a soft lock (a file that merely exists) would outlive a killed process
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
            f"{what} is not locked, because its file system does not support locks "
            f"({error.strerror}); do not start a second process in it",
            stacklevel=4,  # the caller of lock_folder
        )
        yield
        return
    try:
        with suppress(OSError):  # on a full disk; the lock itself needs no space
            file.write_text(f"process {os.getpid()} on {gethostname()}")
        yield
    finally:
        lock.release()


@contextmanager
def exclusive_lock(paths: Sequence[Path]) -> Iterator[None]:
    """Wait until no other process of the machine holds the lock, which ends with its process.

    Unlike `lock_file`, this continues with the next path, and in the end without a lock, if a file
    system is read-only or has no locks: caches are written atomically, so building one twice is
    only slower.

    Args:
        paths: equivalent paths; the lock is next to the first one that can be locked.
    """
    with ExitStack() as stack:
        for path in paths:
            lock = path.with_name(f"{path.name}.lock")
            with suppress(OSError):
                lock.parent.mkdir(parents=True, exist_ok=True)
                # a soft lock, which is a mere file, would outlive a killed process
                stack.enter_context(FileLock(lock, fallback_to_soft=False))
                break
        yield


def _owner(file: Path) -> str:
    """Return the process and host that a lock file names."""
    for _ in range(_READ_ATTEMPTS):
        with suppress(OSError):
            if owner := file.read_text():
                return owner
        time.sleep(0.01)
    return "another process"
