"""Atomic writes, and the temporary files that a killed process leaves of them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import Final

_STALE_AFTER: Final = 3600.0  # seconds; a checkpoint is written in less
_CLOCK_TOLERANCE: Final = (
    60.0  # seconds by which the clocks of a machine and of its file server may differ
)


@contextmanager
def atomic_write(file: Path, *, fsync: bool = False) -> Iterator[Path]:
    """A path to write to, with the file's ending; what was written has the file's name at the end.

    The file's folder is made. Whatever fails in between leaves an earlier file as it was.

    Args:
        file: to put in place.
        fsync: whether it is on the disk before anybody goes on, where it outlives the machine;
            that takes milliseconds, which many small files would feel.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder: there a rename is atomic
    partial = file.with_name(f"{file.stem}.{gethostname()}.{os.getpid()}.tmp{file.suffix}")
    try:
        yield partial
        if fsync:
            _fsync(partial)
        partial.replace(file)
        if fsync:
            with suppress(OSError):  # not every file system can
                _fsync(file.parent)  # where the name is
    finally:
        partial.unlink(missing_ok=True)


def remove_stale_files(folder: Path, pattern: str = "*.tmp*") -> None:
    """Remove temporary files in a folder that processes left when they were killed.

    Args:
        folder: may be missing.
        pattern: of their names.
    """
    for file in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process was quicker
            if is_stale(file):
                file.unlink()


def is_stale(partial: Path) -> bool:
    """Return whether the process that wrote a temporary file of `atomic_write` has ended.

    A process of another machine counts as ended if the file has not changed for an hour.

    Args:
        partial: a file named by `atomic_write`; other names are never abandoned.

    Raises:
        FileNotFoundError: the file is missing.
    """
    *name, process, mark = partial.stem.split(".")
    if mark != "tmp" or not process.isdecimal():
        return False
    written = partial.stat().st_mtime
    if not ".".join(name).endswith(f".{gethostname()}"):
        return time.time() - written > _STALE_AFTER
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
    return _start_time(process) <= at + _CLOCK_TOLERANCE


def _start_time(process: int) -> float:
    """Return when a process was started, in seconds since 1970; 0 where it is unknown (macOS)."""
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/stat").read_text().partition("btime ")[2].split()[0]
    except OSError:
        return 0.0
    return float(boot) + float(status[19]) / os.sysconf("SC_CLK_TCK")  # proc(5), starttime


def _fsync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
