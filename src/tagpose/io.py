"""Atomic writes of files and folders, free disk space, and removal of stale temporary files."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from socket import gethostname
from typing import Final

_STALE_AFTER: Final = 3600.0  # seconds; writing a checkpoint takes less
# seconds by which the clocks of a machine and its file server may differ
_CLOCK_TOLERANCE: Final = 60.0


@contextmanager
def atomic_write(file: Path, *, fsync: bool = False) -> Iterator[Path]:
    """Yield a temporary path that replaces `file` when the block ends without an error.

    Parent folders are created. After an error, an earlier version of the file is unchanged.

    Args:
        file: target file; the temporary path has the same suffix.
        fsync: whether to flush the file to disk, so that it survives a crash of the machine. This
            takes milliseconds, which adds up over many small files.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder, where a rename is atomic
    partial = file.with_name(f"{file.stem}.{gethostname()}.{os.getpid()}.tmp{file.suffix}")
    try:
        yield partial
        if fsync:
            _fsync(partial)
        partial.replace(file)
        if fsync:
            with suppress(OSError):  # some file systems cannot sync folders
                _fsync(file.parent)  # which contains the name of the file
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file atomically and create its parent folders.

    Raises:
        ValueError: if a number is not finite, which JSON cannot represent.
    """
    with atomic_write(Path(path)) as partial:
        partial.write_text(json.dumps(content, allow_nan=False))


def remove_stale_files(folder: Path, pattern: str = "*.tmp*") -> None:
    """Remove temporary files of killed processes from a folder.

    Args:
        folder: folder to clean, which may be missing.
        pattern: glob pattern of the file names.
    """
    for file in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process has removed it
            if is_stale(file):
                file.unlink()


def is_stale(partial: Path) -> bool:
    """Return whether the process that wrote a temporary file of `atomic_write` has ended.

    A process on another machine counts as ended if the file has not changed for an hour.

    Args:
        partial: file named by `atomic_write`; files with other names are never stale.

    Raises:
        FileNotFoundError: if the file is missing.
    """
    *name, process, mark = partial.stem.split(".")
    if mark != "tmp" or not process.isdecimal():
        return False
    modified = partial.stat().st_mtime
    if not ".".join(name).endswith(f".{gethostname()}"):
        return time.time() - modified > _STALE_AFTER
    return not _is_writer_running(int(process), modified)


def check_free_space(folder: Path, required: int, advice: str = "free some space") -> None:
    """Check that the disk of a folder, which may not exist yet, has enough free space.

    Args:
        folder: folder to write to.
        required: bytes to write.
        advice: how to need less space, for the error message.

    Raises:
        OSError: the disk has too little free space.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if required > free:
        raise OSError(
            f"{folder} needs {required / 1e9:.1f} GB, but its disk has {free / 1e9:.1f} GB free; "
            f"{advice} or choose a folder on another disk"
        )


@contextmanager
def atomic_folder(folder: Path, option: str) -> Iterator[Path]:
    """Yield a temporary folder that is renamed when it is complete and removed after an error.

    Args:
        folder: final path; missing parents are created.
        option: option that sets the path, for the error message.

    Raises:
        FileExistsError: the path exists.
    """
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(
            f"{folder} already exists and is not overwritten; remove it, or choose another {option}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent.resolve() / f".{folder.name}.{token_hex(4)}"
    partial.mkdir()  # unlike mkdtemp, with the permissions of other folders
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_no_overwrite(targets: list[Path], sources: list[Path]) -> None:
    """Raise a ValueError if an output file would overwrite an input file."""
    both = {file.resolve() for file in targets} & {file.resolve() for file in sources}
    if both:
        raise ValueError(f"{min(both)} would be overwritten; use another output=FOLDER")


def _is_writer_running(process: int, timestamp: float) -> bool:
    """Return whether a running process of this machine was already running at a time."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process of another user
    # a process that started later has reused the id of one that has ended
    return _process_start_time(process) <= timestamp + _CLOCK_TOLERANCE


def _process_start_time(process: int) -> float:
    """Return when a process started, in seconds since 1970; 0 where it is unknown (macOS)."""
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/stat").read_text().partition("btime ")[2].split()[0]
    except OSError:
        return 0.0
    return float(boot) + float(status[19]) / os.sysconf("SC_CLK_TCK")  # proc(5), starttime


def _fsync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
