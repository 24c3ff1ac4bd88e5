"""Reader of whole annotation files in the format of COCO or COCO-WholeBody."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tagpose.data.annotation_table import AnnotationCollector, AnnotationTable
from tagpose.data.coco_schema import ImageRow, ReadRules, parse_image
from tagpose.data.issues import IssueLog, IssueType
from tagpose.data.json_stream import RowCollector, read_object

Row: TypeAlias = dict[str, Any]  # one object of the JSON file


class CocoFile(NamedTuple):
    """Content of an annotation file, with all rows checked and normalized."""

    description: str  # `info.description`, or the name of the file
    images: dict[int, ImageRow]  # by id, in the order of the file
    annotations: AnnotationTable
    log: IssueLog


class ImageCollector:
    """Collects the image rows of a file.

    Args:
        file: annotation file, for messages.
        rules: which values to read.
        max_issues: number of issues of each type to keep, None for all.
    """

    def __init__(self, file: Path, rules: ReadRules, max_issues: int | None) -> None:
        self.rules, self.log, self.index = rules, IssueLog(file, max_issues), 0
        self.images: dict[int, ImageRow] = {}
        self._ids_by_file: dict[str, int] = {}

    def append(self, row: object) -> None:
        """Add one row of the list."""
        index, self.index = self.index, self.index + 1
        image = parse_image(row, index, self.rules, self.log)
        if image is not None and not self._is_reused(image, row, index):
            self.images[image.id] = image

    def _is_reused(self, image: ImageRow, row: object, index: int) -> bool:
        """Return whether an earlier row has the same id, and log ids and files used twice."""
        if earlier := self.images.get(image.id):
            if earlier == image:
                detail = f"repeats {image.file_name!r}"
                self.log.add_row("image", row, index, IssueType.IMAGE_REPEATED, detail)
            else:
                detail = f"is {image.file_name!r}, but has the id of {earlier.file_name!r}"
                self.log.add_row("image", row, index, IssueType.IMAGE_REUSED, detail, image.id)
            return True
        if self.rules.with_files:
            other = self._ids_by_file.setdefault(image.file_name, image.id)
            if other != image.id:
                detail = f"has the file_name {image.file_name!r}, which image {other} also has"
                ids = (image.id, other)
                self.log.add_row("image", row, index, IssueType.FILE_REUSED, detail, *ids)
        return False


def check_annotation_file(file: Path) -> None:
    """Check that an annotation file exists.

    Raises:
        FileNotFoundError: the file is missing.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; check the path of the annotation file")


def read_coco_file(
    file: Path,
    rules: ReadRules,
    *,
    keep_all: bool = False,
    dtype: type = np.float32,
    max_issues: int | None = 1,
) -> CocoFile:
    """Read an annotation file row by row; issues are logged and left to the caller.

    Args:
        file: JSON file, optionally compressed with gzip.
        rules: which values to read.
        keep_all: whether to keep the keypoints of all annotations, or of trainable ones only.
        dtype: data type of the keypoints.
        max_issues: number of issues of each type to keep, None for all; all issues are counted.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not valid JSON, or has no lists of images and annotations.
    """
    collectors: dict[str, Callable[[], RowCollector]] = {
        "images": partial(ImageCollector, file, rules, max_issues),
        "annotations": partial(
            AnnotationCollector, file, rules, max_issues, keep_all=keep_all, dtype=dtype
        ),
    }
    return _finish(_parse(file, collectors), file)


def check_rows(content: Row, file: Path, rules: ReadRules) -> CocoFile:
    """Check the content of a file that `read_unchecked` returned; all issues are kept."""
    images = ImageCollector(file, rules, None)
    annotations = AnnotationCollector(file, rules, None, keep_all=True, dtype=np.float32)
    for row in content["images"]:
        images.append(row)
    for row in content["annotations"]:
        annotations.append(row)
    return _finish(content | {"images": images, "annotations": annotations}, file)


def read_unchecked(file: Path) -> Row:
    """Return the JSON object of an annotation file without checking its rows.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not valid JSON, or has no lists of images and annotations.
    """
    return _parse(file, {"images": list, "annotations": list})


def _parse(file: Path, collectors: Mapping[str, Callable[[], RowCollector]]) -> Row:
    """Return the JSON object of a file, with its lists replaced by their collectors."""
    check_annotation_file(file)
    content = read_object(file, collectors)
    for key in collectors:
        if key not in content:
            raise ValueError(f"{file} has no list of {key}; use an annotation file in COCO format")
    return content


def _finish(content: Row, file: Path) -> CocoFile:
    """Return the result of the collectors of a file."""
    images: ImageCollector = content["images"]
    annotations: AnnotationCollector = content["annotations"]
    log = images.log
    table = annotations.finish(content.get("categories"), images.images, log)
    info = content.get("info")
    value = info.get("description") if isinstance(info, dict) else None
    description = value if isinstance(value, str) and value else file.name
    return CocoFile(description, images.images, table, log)
