"""Atomic writes, and the temporary files that a killed process leaves of them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import Final

_ABANDONED: Final = 3600.0  # seconds; a checkpoint is written in less
_CLOCKS: Final = 60.0  # seconds by which the clocks of a machine and of its file server may differ


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


def remove_leftovers(folder: Path, pattern: str = "*.tmp*") -> None:
    """Remove temporary files in a folder that processes left when they were killed.

    Args:
        folder: may be missing.
        pattern: of their names.
    """
    for file in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process was quicker
            if is_abandoned(file):
                file.unlink()


def is_abandoned(partial: Path) -> bool:
    """Return whether the process that wrote a temporary file of `whole` has ended.

    A process of another machine counts as ended if the file has not changed for an hour.

    Args:
        partial: a file named by `whole`; other names are never abandoned.

    Raises:
        FileNotFoundError: the file is missing.
    """
    *name, process, mark = partial.stem.split(".")
    if mark != "tmp" or not process.isdecimal():
        return False
    written = partial.stat().st_mtime
    if not ".".join(name).endswith(f".{gethostname()}"):
        return time.time() - written > _ABANDONED
    return not _is_running(int(process), written)


def _is_running(process: int, at: float) -> bool:
    """Return whether a process of this machine that runs now was running at a time, too."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process of another user
    # a process that started later has got the number of one that has ended
    return _start_time(process) <= at + _CLOCKS


def _start_time(process: int) -> float:
    """Return when a process was started, in seconds since 1970; 0 where it is unknown (macOS)."""
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/stat").read_text().partition("btime ")[2].split()[0]
    except OSError:
        return 0.0
    return float(boot) + float(status[19]) / os.sysconf("SC_CLK_TCK")  # proc(5), starttime


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
