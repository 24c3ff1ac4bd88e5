"""Download of the COCO archives whose contents are missing."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tagpose.data.download.extraction import EXTRACTION_PREFIX, count_files, extract_paths
from tagpose.data.download.http import download_file, part_file
from tagpose.locks import lock_folder


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
        for leftover in root.glob(f"{EXTRACTION_PREFIX}*"):
            shutil.rmtree(leftover)
        yield


def find_missing(root: Path, archive: Archive) -> dict[str, int]:
    """Return the missing paths of an archive with their numbers of files.

    Raises:
        ValueError: a folder has some of its files, but not all; it is not modified.
    """
    counts = {path: count_files(root / path) for path in archive.contents}
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


def describe_wholebody(root: Path, files: list[str]) -> str:
    """Return where the COCO-WholeBody annotations are, or how to download them."""
    missing = [root / file for file in files if not (root / file).is_file()]
    if not missing:
        return f"COCO-WholeBody: annotations in {root}"
    return (
        "COCO-WholeBody, which stage two needs: download the annotations manually, as their host "
        "asks, from https://github.com/jin-s13/COCO-WholeBody#download (for research and "
        f"non-commercial use only), and save them as {' and '.join(map(str, missing))}"
    )
