"""Rows of COCO and COCO-WholeBody annotation files, each checked once and brought into one form.

Training, scoring, inspection and clean copies read files by these functions and no others.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePosixPath
from reprlib import repr as brief
from typing import Any, Final, NamedTuple

import numpy as np

from tagpose.data.coco_fields import (
    FieldError,
    box_around,
    parse_area,
    parse_box,
    parse_crowd,
    parse_id,
    parse_keypoints,
    parse_size,
)
from tagpose.data.issue_log import IssueLog
from tagpose.data.issue_types import IssueType
from tagpose.skeletons.skeleton import Skeleton


class ReadOptions(NamedTuple):
    """What users decide about reading annotations."""

    category: str | None = None  # its name; None takes the category with the skeleton's keypoints
    v0_as_labelled: bool = False  # whether keypoints with coordinates and v = 0 are labelled, v = 1


DEFAULT_OPTIONS: Final = ReadOptions()


@dataclass(frozen=True)
class ReadRules:
    """What is needed of a file; values that are not needed are neither read nor refused."""

    skeleton: Skeleton
    options: ReadOptions = DEFAULT_OPTIONS
    with_files: bool = True  # names and sizes of images
    with_areas: bool = True  # areas of annotations, which only scoring reads

    @cached_property
    def keypoint_fields(self) -> tuple[tuple[str, int], ...]:
        """The fields of keypoints, and how many numbers each has."""
        return tuple((f, 3 * (at.stop - at.start)) for f, at in self.skeleton.json_keys.items())

    @cached_property
    def box_fields(self) -> tuple[str, ...]:
        """The fields [F] of the boxes of parts."""
        return tuple(f"{part}_box" for part in self.skeleton.disjoint_parts)


class ImageRow(NamedTuple):
    """One image of a file."""

    id: int
    file_name: str  # with slashes, as the file has it; "" where it is missing
    width: int  # image pixels, 0 where unknown
    height: int  # image pixels, 0 where unknown


class AnnotationRow(NamedTuple):
    """One annotation of a file: a person or a crowd."""

    id: int | None
    image_id: int
    is_crowd: bool
    keypoints: np.ndarray  # [K, 3] float64: x, y in image pixels, v; in the order of the file
    num_labelled: int  # number of keypoints with v > 0
    boxes: list[float]  # [(1 + F) * 4] of the person and its parts, 0 where there is none
    area: float  # square image pixels; NaN where it is not read
    segmentation: Any
    v0_coordinates: int  # number of keypoints with coordinates and v = 0


def describe_row(noun: str, row: object, index: int) -> str:
    """Return what a row is called in messages: its id, or its index in the list."""
    row_id = row.get("id") if isinstance(row, dict) else None
    usable = isinstance(row_id, int | str) and row_id != ""
    return f"{noun} {brief(row_id).strip(chr(39))}" if usable else f"{noun}s[{index}]"


def parse_image(row: object, index: int, rules: ReadRules, log: IssueLog) -> ImageRow | None:
    """Return one image, None where the row has an error.

    Args:
        row: of the list of images.
        index: of the row in the list.
        rules: what is needed of it.
        log: receives the issues of the row.
    """
    where = describe_row("image", row, index)
    image_id = parse_id(row.get("id")) if isinstance(row, dict) else None
    if not isinstance(row, dict):
        log.add(IssueType.ROW, where, f"is {brief(row)}, not an object")
    elif image_id is None:
        log.add(IssueType.IMAGE_ID, where, f"has the id {brief(row.get('id'))}")
    elif not rules.with_files:
        return ImageRow(image_id, _parse_file_name(row) or "", 0, 0)
    else:
        try:
            size = parse_size(
                row.get("width"), row.get("height"), partial(_log_image_issue, log, where)
            )
            if name := _parse_file_name(row):
                return ImageRow(image_id, name, *size)
            found = f"has the file_name {brief(row.get('file_name'))}"
            raise FieldError(IssueType.FILE_NAME, found)
        except FieldError as error:
            log.add(error.type, where, error.detail, image_id)
    return None


def _parse_file_name(row: dict[str, Any]) -> str | None:
    """Return the name of an image file with slashes; None where there is none."""
    name = row.get("file_name")
    if not isinstance(name, str) or "\0" in name:
        return None
    return str(PurePosixPath(name.replace("\\", "/"))) if name.strip(" ./\\") else None


def parse_annotation(
    row: object, index: int, rules: ReadRules, log: IssueLog
) -> AnnotationRow | None:
    """Return one annotation, None where the row has an error or says nothing.

    Args:
        row: of the list of annotations.
        index: of the row in the list.
        rules: what is needed of it.
        log: receives the issues of the row.
    """
    if not isinstance(row, dict):
        what = f"is {brief(row)}, not an object"
        log.add(IssueType.ROW, describe_row("annotation", row, index), what)
        return None
    image_id = parse_id(row.get("image_id"))
    report = partial(_log_annotation_issue, log, row, index)
    try:
        if image_id is None:
            stated = row.get("image_id")
            found = "has no image_id" if stated is None else f"has the image_id {brief(stated)}"
            raise FieldError(IssueType.IMAGE_ID_OF_ANNOTATION, found)
        return _parse_fields(row, image_id, rules, report)
    except FieldError as error:
        ids = () if image_id is None else (image_id,)
        log.add(error.type, describe_row("annotation", row, index), error.detail, *ids)
        return None


def _parse_fields(
    row: dict[str, Any], image_id: int, rules: ReadRules, report: Any
) -> AnnotationRow | None:
    """Return an annotation of an image."""
    crowd = parse_crowd(row.get("iscrowd"), report)
    keypoints = parse_keypoints(row, rules.keypoint_fields, report)
    labelled = int(np.count_nonzero(keypoints[:, 2]))
    v0_coordinates = 0
    # a short way for the usual rows, where all but the labelled keypoints are 0, 0, 0
    plain = not rules.options.v0_as_labelled and np.count_nonzero(keypoints) == 3 * labelled
    if not plain and (v0 := _v0_coordinates(keypoints)).any():
        if rules.options.v0_as_labelled:
            keypoints[v0, 2] = 1
            labelled += int(v0.sum())
        else:
            v0_coordinates = int(v0.sum())
    segmentation = row.get("segmentation")
    box = parse_box(row.get("bbox"), "bbox", report)
    if box[2] < 0 or box[3] < 0:
        raise FieldError(IssueType.BOX, f"has the bbox {brief(box)}, with a side below 0")
    if not row.get("bbox"):
        box = box_around(keypoints)
        if not segmentation and not labelled:
            report(IssueType.EMPTY, "has no labelled keypoint, no box and no segmentation")
            return None
        report(IssueType.BOX_MISSING, "has no bbox")
    boxes = list(box)
    for field in rules.box_fields:
        boxes += parse_box(row.get(field), field, report)
    return AnnotationRow(
        id=parse_id(row.get("id")),
        image_id=image_id,
        is_crowd=crowd,
        keypoints=keypoints,
        num_labelled=labelled,
        boxes=boxes,
        area=parse_area(row.get("area"), segmentation, box, report) if rules.with_areas else np.nan,
        segmentation=segmentation,
        v0_coordinates=v0_coordinates,
    )


def _v0_coordinates(keypoints: np.ndarray) -> np.ndarray:
    """Return which of keypoints [K, 3] have v = 0 and a position in the image, [K] bool."""
    x, y, v = keypoints.T
    placed: np.ndarray = (v == 0) & (x >= 0) & (y >= 0) & (x + y > 0)
    return placed


def _log_image_issue(log: IssueLog, where: str, type_: IssueType, detail: str) -> None:
    """Add an issue of an image."""
    log.add(type_, where, detail)


def _log_annotation_issue(
    log: IssueLog, row: dict[str, Any], index: int, type_: IssueType, detail: str
) -> None:
    """Add an issue of an annotation; a row without issues needs no name."""
    log.add(type_, describe_row("annotation", row, index), detail)
