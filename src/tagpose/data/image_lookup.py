"""Finding the image files of a data set, before anything slow begins."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from tagpose.data.coco_schema import ImageRow
from tagpose.data.images import IMAGE_ERRORS, upright_size
from tagpose.data.issue_log import IssueLog
from tagpose.data.issue_types import IssueType


class ImageFolder:
    """A folder of images, whose subfolders are listed once each.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, set[str]] = {}

    def find(self, name: str) -> str | None:
        """Return the name of a file relative to the folder, None where it is missing.

        A file that is not at its whole name is looked for by the last parts of the name, more parts
        first, and never outside the folder.
        """
        if self._has(name):
            return name
        parts = PurePosixPath(name).parts
        for start in range(1, len(parts)):
            last = "/".join(parts[start:])
            if self._has(last):
                return last
        return None

    def _has(self, name: str) -> bool:
        """Return whether a file is at a name inside the folder."""
        # texts and no Paths: those of all COCO take seconds
        parent, _, last = name.rpartition("/")
        if parent.startswith("/") or name.startswith("/") or ":" in name[:2]:
            return False
        if ".." in name and ".." in PurePosixPath(name).parts:
            return False
        if parent not in self._names:
            self._names[parent] = _list_names(self.path / parent)
        return last in self._names[parent]


def locate_images(
    folder: Path, names: Sequence[str], ids: Sequence[int], log: IssueLog
) -> list[str | None]:
    """Return the names of images relative to their folder, None for missing ones.

    Args:
        folder: of the images.
        names: as the annotation file has them.
        ids: of the images.
        log: takes missing files, files found elsewhere, and files of two images.
    """
    there, users = ImageFolder(folder), dict[str, tuple[int, str]]()
    found = []
    for name, image_id in zip(names, ids, strict=True):
        place = there.find(name)
        found.append(place)
        if place is None:
            what = f"has no file {name!r} in {folder}"
            log.add(IssueType.FILE_MISSING, f"image {image_id}", what, image_id)
            continue
        if place != name:
            what = f"has the file_name {name!r} and is found at {place!r}"
            log.add(IssueType.FILE_ELSEWHERE, f"image {image_id}", what)
        other, other_name = users.setdefault(place, (image_id, name))
        if other != image_id and name != other_name:  # equal names are an issue of the rows
            what = f"is found at {place!r}, as image {other} is"
            log.add(IssueType.FILE_REUSED, f"image {image_id}", what, image_id, other)
    return found


def fill_missing_sizes(
    folder: Path, images: dict[int, ImageRow], log: IssueLog
) -> dict[int, ImageRow]:
    """Return images with the sizes that the file lacks, read from the headers, upright.

    Args:
        folder: of the images.
        images: of the file, by id.
        log: takes files that are missing or cannot be read.
    """
    there, measured = ImageFolder(folder), dict(images)
    for image in images.values():
        if image.width:
            continue
        where, name = f"image {image.id}", there.find(image.file_name)
        try:
            if name is None:
                what = f"has no file {image.file_name!r} in {folder}"
                log.add(IssueType.FILE_MISSING, where, what, image.id)
                continue
            with Image.open(folder / name) as opened:
                width, height = upright_size(opened)
            measured[image.id] = image._replace(width=width, height=height)
        except IMAGE_ERRORS as error:
            what = f"has a file that cannot be read as a picture ({error})"
            log.add(IssueType.IMAGE_FILE, where, what, image.id)
    return measured


def _list_names(folder: Path) -> set[str]:
    """Return the names in a folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (OSError, ValueError):  # no folder can have such a name
        return set()
