"""Safe extraction of zip files, such as those that annotation tools export."""

import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import Final
from zipfile import BadZipFile, ZipFile, ZipInfo

from tagpose.data.image_files import IMAGE_EXTENSIONS
from tagpose.io import check_free_space

_ANNOTATION_SUFFIXES: Final = (".json", ".gz", ".txt", ".yaml", ".yml")
_MAX_FILES: Final = 2_000_000
_MAX_EXPANSION: Final = 100  # photographs hardly compress, while deflate reaches a factor of 1000
_ALWAYS_ALLOWED: Final = 100 * 2**20  # bytes that are extracted regardless of the archive's size


def safe_unzip(archive: Path, folder: Path) -> int:
    """Extract images and annotation files of an archive.

    Args:
        archive: zip file.
        folder: existing folder to extract to.

    Returns:
        The number of other files, which are skipped.

    Raises:
        ValueError: the archive is not a zip file, is damaged or encrypted, or contains links, paths
            outside its folder, or more bytes than an export can have.
        OSError: the disk is too full.
    """
    try:
        with ZipFile(archive) as zip_file:
            members = [member for member in zip_file.infolist() if not member.is_dir()]
            selected = [member for member in members if _is_image_or_annotation(member)]
            for member in members:
                check_member(member, archive)
            _check_size(selected, archive, folder)
            for member in selected:
                target = folder / _member_path(member)
                target.parent.mkdir(parents=True, exist_ok=True)
                with zip_file.open(member) as source, target.open("xb") as extracted:
                    shutil.copyfileobj(source, extracted)
    except (BadZipFile, NotImplementedError, EOFError, FileExistsError) as error:
        raise ValueError(
            f"{archive} cannot be extracted ({error}); check that it is a complete zip file, or "
            "export it again"
        ) from error
    return len(members) - len(selected)


def check_member(member: ZipInfo, archive: Path) -> None:
    """Raise a ValueError for paths outside the folder, links and encrypted members."""
    parts = _member_path(member).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(
            f"{archive} contains the path {member.filename!r}, which is outside of its folder; do "
            "not trust this archive"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(
            f"{archive} contains the link {member.filename!r}; zip the linked files instead"
        )
    if member.flag_bits & 1:
        raise ValueError(f"{archive} is encrypted; extract it yourself and use source=FOLDER")


def _is_image_or_annotation(member: ZipInfo) -> bool:
    """Return whether a member is an image or an annotation file, and not a macOS resource fork."""
    path = _member_path(member)
    is_fork = "__MACOSX" in path.parts or path.name.startswith("._")
    return path.suffix.lower() in (*IMAGE_EXTENSIONS, *_ANNOTATION_SUFFIXES) and not is_fork


def _member_path(member: ZipInfo) -> PurePosixPath:
    """Return the path of a member; some Windows programs write backslashes."""
    return PurePosixPath(member.filename.replace("\\", "/"))


def _check_size(selected: list[ZipInfo], archive: Path, folder: Path) -> None:
    """Raise an error for archives that would fill the disk."""
    size = sum(member.file_size for member in selected)
    archive_size = archive.stat().st_size
    if size > max(_ALWAYS_ALLOWED, _MAX_EXPANSION * archive_size) or len(selected) > _MAX_FILES:
        raise ValueError(
            f"{archive} ({archive_size / 1e6:.1f} MB) would expand to {len(selected)} files of "
            f"{size / 1e9:.1f} GB, which is implausible for an export; if you trust it, extract it "
            "yourself and use source=FOLDER"
        )
    check_free_space(folder, size)
