"""Unpack the zip file of an annotation tool, guarded against hostile ones."""

import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import Final
from zipfile import BadZipFile, ZipFile, ZipInfo

from tagpose.data.image_files import IMAGE_EXTENSIONS

_ANNOTATION_SUFFIXES: Final = (".json", ".gz", ".txt", ".yaml", ".yml")
_MAX_FILES: Final = 2_000_000
_MAX_EXPANSION: Final = 100  # times the archive; photographs hardly shrink, deflate reaches 1000
_ALWAYS_ALLOWED: Final = 100 * 2**20  # bytes that are unpacked whatever the archive's size


def safe_unzip(archive: Path, folder: Path) -> int:
    """Unpack images and annotation files of an archive.

    Args:
        archive: zip file.
        folder: to unpack into; it must exist.

    Returns:
        The number of files that are neither and were left out.

    Raises:
        ValueError: if it is not a zip file, is damaged or encrypted, or has a file that would lie
            outside the folder, a link, or more bytes than an export can have.
        OSError: if the disk has no room.
    """
    try:
        with ZipFile(archive) as packed:
            files = [info for info in packed.infolist() if not info.is_dir()]
            wanted = [info for info in files if _is_wanted(info)]
            for info in files:
                _check_member(info, archive)
            _check_size(wanted, archive, folder)
            for info in wanted:
                target = folder / _member_path(info)
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(info) as source, target.open("xb") as written:
                    shutil.copyfileobj(source, written)
    except (BadZipFile, NotImplementedError, EOFError, FileExistsError) as error:
        raise ValueError(
            f"{archive} cannot be unpacked: {error}; is it a whole zip file? Export it again"
        ) from error
    return len(files) - len(wanted)


def _is_wanted(info: ZipInfo) -> bool:
    """Whether a member is an image or an annotation file, and no resource fork of macOS."""
    path = _member_path(info)
    is_fork = "__MACOSX" in path.parts or path.name.startswith("._")
    return path.suffix.lower() in (*IMAGE_EXTENSIONS, *_ANNOTATION_SUFFIXES) and not is_fork


def _member_path(info: ZipInfo) -> PurePosixPath:
    """The path of a member; some programs for Windows write backslashes."""
    return PurePosixPath(info.filename.replace("\\", "/"))


def _check_member(info: ZipInfo, archive: Path) -> None:
    """Refuse what an export never has."""
    parts = _member_path(info).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(
            f"{archive} has the file {info.filename!r}, which would lie outside of its folder; do "
            "not trust this archive"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ValueError(f"{archive} has the link {info.filename!r}; pack the files themselves")
    if info.flag_bits & 1:
        raise ValueError(f"{archive} is encrypted; unpack it, and give the folder by source=FOLDER")


def _check_size(wanted: list[ZipInfo], archive: Path, folder: Path) -> None:
    """Refuse an archive that would fill the disk."""
    size, packed = sum(info.file_size for info in wanted), archive.stat().st_size
    if size > max(_ALWAYS_ALLOWED, _MAX_EXPANSION * packed) or len(wanted) > _MAX_FILES:
        raise ValueError(
            f"{archive} ({packed / 1e6:.1f} MB) would unpack to {len(wanted)} files of "
            f"{size / 1e9:.1f} GB, which no export does; if you trust it, unpack it yourself"
        )
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            f"{archive} unpacks to {size / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free; "
            "output=FOLDER names another place"
        )
