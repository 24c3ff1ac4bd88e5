"""Reading of a whole annotation file of COCO or COCO-WholeBody."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tagpose.data.coco_collectors import AnnotationCollector, AnnotationTable, ImageCollector
from tagpose.data.coco_schema import ImageRow, ReadRules
from tagpose.data.issue_log import IssueLog
from tagpose.data.json_stream import RowCollector, read_object

Row: TypeAlias = dict[str, Any]  # one object of the JSON file


class CocoFile(NamedTuple):
    """An annotation file, each row checked and in one form."""

    description: str  # of the file, or its name
    images: dict[int, ImageRow]  # by id, in the order of the file
    annotations: AnnotationTable
    log: IssueLog


def read_coco_file(
    file: Path,
    rules: ReadRules,
    *,
    keep_all: bool = False,
    dtype: type = np.float32,
    max_issues: int | None = 1,
) -> CocoFile:
    """Read an annotation file row by row; whoever reads it decides what issues lead to.

    Args:
        file: JSON, which may be compressed with gzip.
        rules: what is needed of it.
        keep_all: whether keypoints of all annotations are kept, or of those that are learned only.
        dtype: of the keypoints.
        max_issues: number of issues of each type that are kept; all are counted.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON, or has no lists of images and annotations.
    """
    collect: dict[str, Callable[[], RowCollector]] = {
        "images": partial(ImageCollector, file, rules, max_issues),
        "annotations": partial(
            AnnotationCollector, file, rules, max_issues, keep_all=keep_all, dtype=dtype
        ),
    }
    return _finish(_parse(file, collect), file)


def check_rows(content: Row, file: Path, rules: ReadRules) -> CocoFile:
    """Check the content of a file that was read by `read_unchecked`; all issues are kept."""
    images = ImageCollector(file, rules, None)
    annotations = AnnotationCollector(file, rules, None, keep_all=True, dtype=np.float32)
    for row in content["images"]:
        images.append(row)
    for row in content["annotations"]:
        annotations.append(row)
    return _finish(content | {"images": images, "annotations": annotations}, file)


def read_unchecked(file: Path) -> Row:
    """Return the JSON object of a file with lists of images and annotations, unchecked.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON, or has no such lists.
    """
    return _parse(file, {"images": list, "annotations": list})


def _parse(file: Path, lists: Mapping[str, Callable[[], RowCollector]]) -> Row:
    """Return the JSON object of a file, with what took the rows of its lists."""
    content = read_object(file, lists)
    for key in lists:
        if key not in content:
            raise ValueError(
                f"{file} has no list of {key}; an annotation file in COCO's format is expected"
            )
    return content


def _finish(content: Row, file: Path) -> CocoFile:
    """Return what the collectors of a file have."""
    images: ImageCollector = content["images"]
    annotations: AnnotationCollector = content["annotations"]
    log = images.log
    columns = annotations.finish(content.get("categories"), images.images, log)
    info = content.get("info")
    stated = info.get("description") if isinstance(info, dict) else None
    description = stated if isinstance(stated, str) and stated else file.name
    return CocoFile(description, images.images, columns, log)
