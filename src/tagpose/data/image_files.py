"""Listing and writing of image files, and lookup of those that an annotation file names."""

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from PIL import Image

from tagpose.data.coco_schema import ImageRow
from tagpose.data.images import IMAGE_ERRORS, open_image, upright_size
from tagpose.data.issues import IssueLog, IssueType, emit_warnings
from tagpose.io import atomic_write

_JPEG: Final = (".jfif", ".jpe", ".jpeg", ".jpg")
# formats that Pillow reads and writes as photographs, without documents and the like
_PICTURES: Final = (
    *(".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2k", ".jp2", ".jpx", ".pcx", ".png"),
    *(".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
    *_JPEG,
    *(".pbm", ".pgm", ".pnm", ".ppm"),
)
# formats that are only read: Pillow cannot write them, or reduces pictures to icons
_READ_ONLY: Final = (".heic", ".heif", ".hif", ".ico", ".mpo", ".pfm", ".psd")
IMAGE_EXTENSIONS: Final = (*_PICTURES, *_READ_ONLY)


class ImageFolder:
    """Image folder that lists each of its subfolders only once.

    Args:
        path: path of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, set[str]] = {}

    def find(self, name: str) -> str | None:
        """Return the path of a file relative to the folder, or None if it is missing.

        If there is no file at the full name, the last parts of the name are tried, longest first.
        Files outside the folder are never found.
        """
        if self._exists(name):
            return name
        parts = PurePosixPath(name).parts
        for start in range(1, len(parts)):
            suffix = "/".join(parts[start:])
            if self._exists(suffix):
                return suffix
        return None

    def _exists(self, name: str) -> bool:
        """Return whether a file inside the folder has a name."""
        # strings instead of Path objects, which take seconds for the images of COCO
        parent, _, last = name.rpartition("/")
        if parent.startswith("/") or name.startswith("/") or ":" in name[:2]:
            return False
        if ".." in name and ".." in PurePosixPath(name).parts:
            return False
        if parent not in self._names:
            self._names[parent] = _list_names(self.path / parent)
        return last in self._names[parent]


def write_image(file: Path, image: np.ndarray, *, quality: int | None = None) -> None:
    """Write an image atomically, in the format of the file's extension.

    Args:
        file: file to write.
        image: [H, W, 3] uint8 RGB.
        quality: quality of JPEG and WebP, up to 100; None uses Pillow's default. Ignored for other
            formats.
    """
    is_lossy = file.suffix.lower() in (*_JPEG, ".webp")
    options: dict[str, Any] = {"quality": quality} if is_lossy and quality is not None else {}
    with atomic_write(file) as partial:
        Image.fromarray(image).save(partial, **options)


def writable_extensions() -> set[str]:
    """Return the extensions of the formats in which pictures can be written."""
    Image.init()
    known = Image.registered_extensions().items()
    return {end for end, kind in known if kind in Image.SAVE} & set(_PICTURES)


def is_camera(source: str) -> bool:
    """Return whether a string is the number of a camera rather than the name of a file."""
    return source.isdecimal() and not Path(source).exists()


def is_hidden(file: Path) -> bool:
    """Return whether the name of a file begins with a dot."""
    return file.name.startswith(".")


def is_image_name(file: Path) -> bool:
    """Return whether a path has the extension of an image and is not a folder."""
    return file.suffix.lower() in IMAGE_EXTENSIONS and not file.is_dir()


def list_paths(source: str | Path) -> list[Path]:
    """Return the files and folders of a folder, or those of a pattern, sorted by name.

    Hidden files of a folder are skipped, as patterns skip them: on foreign disks macOS writes, for
    each NAME.jpg, a file `._NAME.jpg` that is not an image.
    """
    path = Path(source)
    if path.is_dir():
        return sorted(file for file in path.iterdir() if not is_hidden(file))
    return sorted(map(Path, glob(str(source), recursive=True)))  # noqa: PTH207 -- any pattern


def list_images(source: str | Path, key: str = "images") -> list[Path]:
    """Return the image at a path, or all images of a folder or a pattern, sorted by name.

    Args:
        source: path, or pattern with *, ? or [ such as "photos/**/*.jpg"; see `list_paths`.
        key: option that has the path, for the error message.

    Raises:
        FileNotFoundError: there is no image at the path, in the folder or for the pattern.
    """
    path = Path(source)
    files = [path] if path.is_file() else list(filter(is_image_name, list_paths(path)))
    if not files:
        raise FileNotFoundError(
            f"no images found at {source}; set {key}= to an image file, a folder or a pattern"
        )
    return files


def locate_images(
    folder: Path, names: Sequence[str], ids: Sequence[int], log: IssueLog
) -> list[str | None]:
    """Return the paths of images relative to their folder, None for missing ones.

    Args:
        folder: image folder.
        names: file names as in the annotation file.
        ids: image ids.
        log: receives missing files, files found at another path, and files of two images.
    """
    image_folder, owners = ImageFolder(folder), dict[str, tuple[int, str]]()
    paths = []
    for name, image_id in zip(names, ids, strict=True):
        path = image_folder.find(name)
        paths.append(path)
        where = f"image {image_id}"
        if path is None:
            detail = f"has no file {name!r} in {folder}"
            log.add(IssueType.FILE_MISSING, where, detail, image_id)
            continue
        if path != name:
            detail = f"has the file_name {name!r} and is found at {path!r}"
            log.add(IssueType.FILE_ELSEWHERE, where, detail)
        other, other_name = owners.setdefault(path, (image_id, name))
        if other != image_id and name != other_name:  # equal names are already an issue of the rows
            detail = f"is found at {path!r}, like image {other}"
            log.add(IssueType.FILE_REUSED, where, detail, image_id, other)
    return paths


def locate_all_images(
    folder: Path, names: Sequence[str], ids: Sequence[int], file: Path
) -> list[str]:
    """Return the paths of images relative to their folder, and warn of files at other paths.

    Args:
        folder: image folder.
        names: file names as in the annotation file.
        ids: image ids.
        file: annotation file, for messages.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: two images share a file.
    """
    log = IssueLog(file, max_kept=1)
    paths = locate_images(folder, names, ids, log)
    log.raise_error()
    emit_warnings(log.warning_lines())
    return [path for path in paths if path is not None]


def fill_missing_sizes(
    folder: Path, images: dict[int, ImageRow], log: IssueLog
) -> dict[int, ImageRow]:
    """Return images with missing sizes read from the headers of their files, after EXIF rotation.

    Args:
        folder: image folder.
        images: images of an annotation file, by id.
        log: receives files that are missing or cannot be read.
    """
    image_folder, filled = ImageFolder(folder), dict(images)
    for image in images.values():
        if image.width:
            continue
        where, path = f"image {image.id}", image_folder.find(image.file_name)
        try:
            if path is None:
                detail = f"has no file {image.file_name!r} in {folder}"
                log.add(IssueType.FILE_MISSING, where, detail, image.id)
                continue
            with open_image(folder / path) as header:
                width, height = upright_size(header)
            filled[image.id] = image._replace(width=width, height=height)
        except IMAGE_ERRORS as error:
            detail = f"has a file that cannot be read as an image ({error})"
            log.add(IssueType.IMAGE_FILE, where, detail, image.id)
    return filled


def _list_names(folder: Path) -> set[str]:
    """Return the names in a folder; an empty set if the folder does not exist."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (OSError, ValueError):  # ValueError: not a valid name of a folder
        return set()
