"""Schema of COCO and COCO-WholeBody files: parsing and validation of image and annotation rows.

Training, evaluation, inspection and clean copies all read files with these functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from reprlib import repr as brief
from typing import Any, Final, NamedTuple

import numpy as np

from tagpose.data.coco_fields import (
    FieldError,
    ReportIssue,
    find_v0_coordinates,
    parse_area,
    parse_box,
    parse_crowd,
    parse_file_name,
    parse_id,
    parse_keypoints,
    parse_size,
)
from tagpose.data.issues import IssueLog, IssueType
from tagpose.geometry import keypoint_boxes
from tagpose.skeletons.skeleton import Skeleton


class ReadOptions(NamedTuple):
    """User options for reading annotations."""

    category: str | None = None  # name; None selects the category with the skeleton's keypoints
    v0_as_labeled: bool = False  # whether keypoints with coordinates and v = 0 are read as v = 1


DEFAULT_OPTIONS: Final = ReadOptions()


@dataclass(frozen=True)
class ReadRules:
    """Which values of a file to read; other values are neither read nor checked."""

    skeleton: Skeleton
    options: ReadOptions = DEFAULT_OPTIONS
    with_files: bool = True  # whether images without a file name or a possible size are errors
    with_areas: bool = True  # areas of annotations, which only evaluation needs

    @cached_property
    def keypoint_fields(self) -> tuple[tuple[str, int], ...]:
        """Names of the keypoint fields, with the number of values of each."""
        return tuple((f, 3 * (at.stop - at.start)) for f, at in self.skeleton.json_keys.items())

    @cached_property
    def box_fields(self) -> tuple[str, ...]:
        """Names [F] of the box fields of the parts."""
        return tuple(f"{part}_box" for part in self.skeleton.disjoint_parts)


class ImageRow(NamedTuple):
    """Image row of a file."""

    id: int
    file_name: str  # as in the file, with forward slashes; "" if missing
    width: int  # image pixels, 0 if unknown
    height: int  # image pixels, 0 if unknown


class AnnotationRow(NamedTuple):
    """Annotation row of a file: a person or a crowd region."""

    id: int | None
    image_id: int
    is_crowd: bool
    keypoints: np.ndarray  # [K, 3] float64: x, y in image pixels, v; in the order of the file
    num_labeled: int  # number of keypoints with v > 0
    boxes: list[float]  # [(1 + F) * 4] x, y, width, height of person and parts, 0 if missing
    area: float  # square image pixels; NaN if not read
    segmentation: Any
    v0_coordinates: int  # number of keypoints with coordinates and v = 0


def parse_image(row: object, index: int, rules: ReadRules, log: IssueLog) -> ImageRow | None:
    """Parse an image row.

    Args:
        row: element of the list of images.
        index: index of the row in the list.
        rules: which values to read.
        log: receives the issues of the row.

    Returns:
        The image, or None if the row has an error.
    """
    report = partial(log.add_row, "image", row, index)
    image_id = parse_id(row.get("id")) if isinstance(row, dict) else None
    if not isinstance(row, dict):
        report(IssueType.ROW, f"is {brief(row)}, not an object")
    elif image_id is None:
        report(IssueType.IMAGE_ID, f"has the id {brief(row.get('id'))}")
    elif not rules.with_files:
        return ImageRow(image_id, parse_file_name(row) or "", *_stated_size(row))
    else:
        try:
            size = parse_size(row.get("width"), row.get("height"), report)
            if name := parse_file_name(row):
                return ImageRow(image_id, name, *size)
            detail = f"has the file_name {brief(row.get('file_name'))}"
            raise FieldError(IssueType.FILE_NAME, detail)
        except FieldError as error:
            report(error.type, error.detail, image_id)
    return None


def _stated_size(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of an image row, or 0, 0 if they are missing or impossible."""
    try:
        return parse_size(row.get("width"), row.get("height"), lambda *_: None)
    except FieldError:
        return 0, 0


def parse_annotation(
    row: object, index: int, rules: ReadRules, log: IssueLog
) -> AnnotationRow | None:
    """Parse an annotation row.

    Args:
        row: element of the list of annotations.
        index: index of the row in the list.
        rules: which values to read.
        log: receives the issues of the row.

    Returns:
        The annotation, or None if the row has an error or is empty.
    """
    report = partial(log.add_row, "annotation", row, index)
    if not isinstance(row, dict):
        report(IssueType.ROW, f"is {brief(row)}, not an object")
        return None
    value = row.get("image_id")
    image_id = parse_id(value)
    if image_id is None:
        detail = "has no image_id" if value is None else f"has the image_id {brief(value)}"
        report(IssueType.IMAGE_ID_OF_ANNOTATION, detail)
        return None
    try:
        return _parse_fields(row, image_id, rules, report)
    except FieldError as error:
        report(error.type, error.detail, image_id)
        return None


def _parse_fields(
    row: dict[str, Any], image_id: int, rules: ReadRules, report: ReportIssue
) -> AnnotationRow | None:
    """Parse the fields of an annotation."""
    crowd = parse_crowd(row.get("iscrowd"), report)
    keypoints = parse_keypoints(row, rules.keypoint_fields, report)
    labeled = int(np.count_nonzero(keypoints[:, 2]))
    v0_coordinates = 0
    # fast path for the usual rows, whose unlabeled keypoints are 0, 0, 0
    plain = not rules.options.v0_as_labeled and np.count_nonzero(keypoints) == 3 * labeled
    if not plain and (v0 := find_v0_coordinates(keypoints)).any():
        if rules.options.v0_as_labeled:
            keypoints[v0, 2] = 1
            labeled += int(v0.sum())
        else:
            v0_coordinates = int(v0.sum())
    segmentation = row.get("segmentation")
    box = parse_box(row.get("bbox"), "bbox", report)
    if box[2] < 0 or box[3] < 0:
        raise FieldError(IssueType.BOX, f"has the bbox {brief(box)}, with a negative side")
    if not row.get("bbox"):
        box = keypoint_boxes(keypoints[None], keypoints[None, :, 2] > 0)[0].tolist()
        if not segmentation and not labeled:
            report(IssueType.EMPTY, "has no labeled keypoint, no box and no segmentation")
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
        num_labeled=labeled,
        boxes=boxes,
        area=parse_area(row.get("area"), segmentation, box, report) if rules.with_areas else np.nan,
        segmentation=segmentation,
        v0_coordinates=v0_coordinates,
    )
