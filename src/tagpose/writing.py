"""This file puts files in their place whole, or not at all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname


@contextmanager
def whole(file: Path, *, lasting: bool = False) -> Iterator[Path]:
    """A path to write to, with the file's ending; what was written has the file's name at the end.

    The file's folder is made. Whatever fails in between leaves an earlier file as it was.

    Args:
        file: to put in place.
        lasting: whether it is on the disk before anybody goes on, where it outlives the machine;
            that takes milliseconds, which many small files would feel.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder: there a rename is atomic
    partial = file.with_name(f"{file.stem}.{gethostname()}.{os.getpid()}.tmp{file.suffix}")
    try:
        yield partial
        if lasting:
            _sync(partial)
        partial.replace(file)
        if lasting:
            with suppress(OSError):  # not every file system can
                _sync(file.parent)  # where the name is
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the partial files that processes of this machine left in a folder when killed."""
    name = re.compile(rf".+\.{re.escape(gethostname())}\.(\d+)\.tmp(\.\w+)?")
    for file in list(folder.iterdir()) if folder.is_dir() else ():
        if (partial := name.fullmatch(file.name)) and not _is_running(int(partial[1])):
            file.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Return whether there is a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
