"""This file completes a data set from its published archives: only what is missing, or nothing."""

import fcntl
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tqdm import tqdm

from tagpose.data.download.http import check_free_space, download_file, part_file

_UNPACKING: Final = ".unpacking-"  # what a folder that nobody may read yet is called


class Archive(NamedTuple):
    """A published zip archive, and what a data set takes from it."""

    url: str
    size: int  # bytes
    checksum: str  # ALGORITHM:DIGITS
    unpacked_size: int  # bytes on the disk, rounded up
    contents: Mapping[str, int]  # path, in the archive and below the root -> number of its files

    def file(self, root: Path) -> Path:
        """Where it lies from its last byte until it is unpacked."""
        return root / PurePosixPath(self.url).name


@contextmanager
def lock_dataset(root: Path) -> Iterator[None]:
    """Keep other processes out of a data set; what a killed one left unpacked is removed.

    Raises:
        BlockingIOError: another process is at it.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = root / ".fetching"
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # one that its holder has just removed keeps nobody out
            if not os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            raise BlockingIOError(
                f"another process is fetching into {root}; wait for it and run this again"
            ) from None
        try:
            for left in root.glob(f"{_UNPACKING}*"):
                shutil.rmtree(left)
            yield
        finally:
            lock.unlink()


def find_missing(root: Path, archive: Archive) -> dict[str, int]:
    """What of an archive a data set has not; files by path.

    Raises:
        ValueError: a folder has some of its files, but not all; it is left as it is.
    """
    found = {path: _count_files(root / path) for path in archive.contents}
    for path, files in archive.contents.items():
        if 0 < found[path] < files:
            raise ValueError(
                f"{root / path} has {found[path]} files, not {files}; move it away and run this "
                "again to fetch it whole, or leave it out by parts=[...]"
            )
    lacking = {path: files for path, files in archive.contents.items() if not found[path]}
    for path in lacking:
        if (root / path).is_dir() and any((root / path).iterdir()):
            raise ValueError(f"{root / path} has hidden files only; remove it and run this again")
    return lacking


def count_required_bytes(root: Path, archive: Archive) -> int:
    """Free disk that fetching and unpacking takes, beyond what is there of the archive."""
    file = archive.file(root)
    there = sum(path.stat().st_size for path in (file, part_file(file)) if path.exists())
    return max(archive.size - there, 0) + archive.unpacked_size


def fetch_archive(root: Path, archive: Archive, *, keep: bool) -> None:
    """Fetch an archive, unpack what is missing, and remove the archive unless it is to be kept.

    Raises:
        OSError: it cannot be fetched, or the disk has too little room.
        ValueError: the archive is not what was published.
    """
    file = archive.file(root)
    download_file(archive.url, file, size=archive.size, checksum=archive.checksum)
    extract_paths(file, root, find_missing(root, archive))
    if not keep:
        file.unlink()


def extract_paths(file: Path, root: Path, contents: Mapping[str, int]) -> None:
    """Take paths out of a zip archive; below the root each of them appears whole or not at all.

    Args:
        file: the archive.
        root: folder that the paths are relative to, in the archive too.
        contents: paths to take, and the number of files that each must have.

    Raises:
        OSError: the disk has too little room.
        ValueError: the archive is broken, lacks something, or wants to write elsewhere.
    """
    with TemporaryDirectory(prefix=_UNPACKING, dir=root) as folder:
        _extract(file, Path(folder), list(contents))
        for path, files in contents.items():
            found = _count_files(Path(folder) / path)
            if found < files:
                raise ValueError(
                    f"{file} holds {found} files of {path}, not {files}; is it the published one?"
                )
        os.sync()  # all at once: a hundred thousand single ones take longer than unpacking
        for path in contents:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).replace(root / path)


def _extract(file: Path, folder: Path, paths: list[str]) -> None:
    """Write what an archive has at some paths."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [
                entry for entry in _checked_members(archive, file) if _is_below(entry, paths)
            ]
            check_free_space(folder, sum(entry.file_size for entry in entries))
            for entry in tqdm(entries, desc=f"unpack {file.name}", unit="file", disable=None):
                archive.extract(entry, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(
            f"{file} is no whole zip archive: {error}; remove it and run this again"
        ) from error


def _checked_members(archive: zipfile.ZipFile, file: Path) -> list[zipfile.ZipInfo]:
    """All entries, none of which leaves the folder that it is unpacked to."""
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"{file} would write outside of its folder, to {entry.filename}; do not trust it"
            )
    return archive.infolist()


def _is_below(entry: zipfile.ZipInfo, paths: list[str]) -> bool:
    """Whether an entry is a file at one of the paths, or in a folder there."""
    name = PurePosixPath(entry.filename)
    return not entry.is_dir() and any(name.is_relative_to(path) for path in paths)


def _count_files(path: Path) -> int:
    """Files in a folder, but for hidden ones; 1 for a file, 0 for nothing."""
    if path.is_dir():
        return sum(not file.name.startswith(".") for file in path.iterdir())
    return int(path.exists())
