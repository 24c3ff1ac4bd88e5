"""Download and extraction of the COCO archives; only missing paths are extracted."""

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

from tagpose.data.download.http import download_file, part_file
from tagpose.data.safe_unzip import check_member
from tagpose.io import check_free_space
from tagpose.locks import lock_folder

_EXTRACTION_PREFIX: Final = ".unpacking-"  # of temporary folders with incomplete contents


class Archive(NamedTuple):
    """A published zip archive and the paths that a dataset needs from it."""

    url: str
    size: int  # bytes
    checksum: str  # ALGORITHM:DIGITS
    unpacked_size: int  # bytes on disk, rounded up
    contents: Mapping[str, int]  # path in the archive and below the root -> number of files

    def file(self, root: Path) -> Path:
        """Return the path of the downloaded archive."""
        return root / PurePosixPath(self.url).name


@contextmanager
def lock_dataset(root: Path) -> Iterator[None]:
    """Lock a dataset folder and remove what interrupted extractions left in it.

    Args:
        root: folder of the dataset; created if it is missing.

    Raises:
        FolderInUseError: another process holds the lock.
    """
    with lock_folder(root):
        for leftover in root.glob(f"{_EXTRACTION_PREFIX}*"):
            shutil.rmtree(leftover)
        yield


def find_missing(root: Path, archive: Archive) -> dict[str, int]:
    """Return the missing paths of an archive with their numbers of files.

    Raises:
        ValueError: a folder has some of its files, but not all; it is not modified.
    """
    counts = {path: _count_files(root / path) for path in archive.contents}
    for path, expected in archive.contents.items():
        if 0 < counts[path] < expected:
            raise ValueError(
                f"{root / path} has {counts[path]} files, expected {expected}; move it away and "
                "run the command again to download all of it, or exclude it with parts=[...]"
            )
    missing = {path: files for path, files in archive.contents.items() if not counts[path]}
    for path in missing:
        if (root / path).is_dir() and any((root / path).iterdir()):
            raise ValueError(
                f"{root / path} contains only hidden files; remove it and run the command again"
            )
    return missing


def count_required_bytes(root: Path, archive: Archive) -> int:
    """Return the disk space in bytes that downloading and extracting an archive still needs."""
    file = archive.file(root)
    downloaded = sum(path.stat().st_size for path in (file, part_file(file)) if path.exists())
    return max(archive.size - downloaded, 0) + archive.unpacked_size


def fetch_archive(root: Path, archive: Archive, *, keep: bool) -> None:
    """Download an archive, extract the missing paths, and remove the archive.

    Args:
        root: folder of the dataset.
        archive: archive to download.
        keep: whether the downloaded archive is kept.

    Raises:
        OSError: the download fails, or the disk is too full.
        ValueError: the archive is not the published one.
    """
    file = archive.file(root)
    download_file(archive.url, file, size=archive.size, checksum=archive.checksum)
    extract_paths(file, root, find_missing(root, archive))
    if not keep:
        file.unlink()


def extract_paths(file: Path, root: Path, contents: Mapping[str, int]) -> None:
    """Extract paths of a zip archive; each path is moved into place only once it is complete.

    Args:
        file: zip archive.
        root: folder to extract to.
        contents: paths to extract, with the minimum number of files of each.

    Raises:
        OSError: the disk is too full.
        ValueError: the archive is damaged, lacks files, or contains paths outside its folder.
    """
    with TemporaryDirectory(prefix=_EXTRACTION_PREFIX, dir=root) as folder:
        _extract(file, Path(folder), list(contents))
        for path, expected in contents.items():
            count = _count_files(Path(folder) / path)
            if count < expected:
                raise ValueError(
                    f"{file} contains {count} files of {path}, expected {expected}; check that it "
                    "is the published archive"
                )
        os.sync()  # one call: fsync on a hundred thousand files takes longer than extraction
        for path in contents:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).replace(root / path)


def _extract(file: Path, folder: Path, paths: list[str]) -> None:
    """Extract the files at or below some paths of an archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                check_member(member, file)
            members = [member for member in archive.infolist() if _is_below(member, paths)]
            check_free_space(folder, sum(member.file_size for member in members))
            for member in tqdm(members, desc=f"extract {file.name}", unit="file", disable=None):
                archive.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(
            f"{file} is not a complete zip archive ({error}); remove it and run the command again"
        ) from error


def _is_below(member: zipfile.ZipInfo, paths: list[str]) -> bool:
    """Return whether a member is a file at or below one of the paths."""
    name = PurePosixPath(member.filename)
    return not member.is_dir() and any(name.is_relative_to(path) for path in paths)


def _count_files(path: Path) -> int:
    """Return the number of files in a folder except hidden ones; 1 for a file, 0 if missing."""
    if path.is_dir():
        return sum(not file.name.startswith(".") for file in path.iterdir())
    return int(path.exists())
