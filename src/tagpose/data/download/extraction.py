"""Extraction of the needed paths of a published archive."""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from tqdm import tqdm

from tagpose.data.safe_unzip import check_member
from tagpose.io import check_free_space

EXTRACTION_PREFIX: Final = ".unpacking-"  # of temporary folders with incomplete contents


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
    with TemporaryDirectory(prefix=EXTRACTION_PREFIX, dir=root) as folder:
        _extract(file, Path(folder), list(contents))
        for path, expected in contents.items():
            count = count_files(Path(folder) / path)
            if count < expected:
                raise ValueError(
                    f"{file} contains {count} files of {path}, expected {expected}; check that it "
                    "is the published archive"
                )
        os.sync()  # one call: fsync on a hundred thousand files takes longer than extraction
        for path in contents:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).replace(root / path)


def count_files(path: Path) -> int:
    """Return the number of files in a folder except hidden ones; 1 for a file, 0 if missing."""
    if path.is_dir():
        return sum(not file.name.startswith(".") for file in path.iterdir())
    return int(path.exists())


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
