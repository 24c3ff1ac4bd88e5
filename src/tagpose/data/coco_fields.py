"""Rules for the fields of an annotation file: which values are read, repaired or refused.

Each function gets the value of a field and returns it in one form. What it repairs it reports;
what it refuses it raises as a `FieldError`. Values in the usual form take the shortest way, because
COCO-WholeBody has 262,000 annotations.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from math import isfinite
from reprlib import repr as brief
from typing import Any, Final, TypeAlias

import numpy as np

from tagpose.data.issue_types import IssueType
from tagpose.structures import MAX_VISIBILITY, is_int64

ReportIssue: TypeAlias = Callable[[IssueType, str], None]

MAX_PIXELS: Final = 2 * 89_478_485  # of an image that Pillow opens
_MAX_COORDINATE: Final = 1e18  # its square is finite in float32
_MAX_SQUARES: Final = _MAX_COORDINATE**2  # sum over an annotation
_HASHED_BYTES: Final = 7  # 56 bits, which a float64 of JSON almost holds and int64 does
_MAX_DIGITS: Final = 19  # digits of 64 bits
_NO_BOX: Final = [0.0, 0.0, 0.0, 0.0]


class FieldError(ValueError):
    """A value that cannot be read.

    Args:
        type_: of the issue.
        detail: was found, for a message "annotation 5 WHAT".
    """

    def __init__(self, type_: IssueType, detail: str) -> None:
        super().__init__(detail)
        self.type, self.detail = type_, detail


def parse_id(value: object) -> int | None:
    """Return an id as a number of 64 bits, None for what is no id.

    A text of digits is that number. Any other text becomes a number of 56 bits from its SHA-256, so
    that annotations and result files agree.
    """
    if is_int64(value):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if not isinstance(value, str) or not value:
        return None
    if (number := _parse_digits(value)) is not None:
        return number
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:_HASHED_BYTES], "big")


def _parse_digits(text: str) -> int | None:
    """Return the number of 64 bits that a text of digits is; None for any other text."""
    digits = text.lstrip("0") or text[-1:]
    short = len(digits) <= _MAX_DIGITS and digits.isascii() and digits.isdecimal()
    return int(digits) if short and is_int64(int(digits)) else None


def parse_size(width: object, height: object, report: ReportIssue) -> tuple[int, int]:
    """Return width and height of an image in image pixels; 0, 0 where one is missing."""
    if width is None or height is None:
        report(IssueType.SIZE_MISSING, "has no width or height")
        return 0, 0
    size = tuple(_parse_pixel_count(value, report) for value in (width, height))
    if min(size) < 1:
        found = f"{brief(width)} x {brief(height)}"
        raise FieldError(IssueType.IMAGE_SIZE, f"has the size {found}")
    if size[0] * size[1] > MAX_PIXELS:  # pycocotools would crash on masks of more
        raise FieldError(
            IssueType.IMAGE_SIZE,
            f"has {size[0]} x {size[1]} pixels; {MAX_PIXELS} are read at most",
        )
    return size[0], size[1]


def _parse_pixel_count(value: object, report: ReportIssue) -> int:
    """Return a number of pixels; 0 for what is none."""
    if isinstance(value, str) and (number := _parse_digits(value)) is not None:
        report(IssueType.TEXT, f"has the size {brief(value)}")
        return number
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if is_int64(value) else 0


def parse_crowd(value: object, report: ReportIssue) -> bool:
    """Return whether an annotation is a region of many people."""
    if value is None:
        report(IssueType.CROWD_MISSING, "has no iscrowd")
        return False
    if value in ("0", "1"):
        report(IssueType.TEXT, f"has the iscrowd {value!r}")
        return value == "1"
    if not isinstance(value, int | float) or value not in (0, 1):
        raise FieldError(IssueType.CROWD, f"has the iscrowd {brief(value)}, which is not 0 or 1")
    return bool(value)


def parse_keypoints(
    row: dict[str, Any], fields: Sequence[tuple[str, int]], report: ReportIssue
) -> np.ndarray:
    """Return the keypoints [K, 3] float64 of an annotation: x, y in image pixels, v.

    Args:
        row: of the annotation.
        fields: that hold keypoints, and how many numbers each has.
        report: takes what is repaired.
    """
    flat: list[Any] = []
    for field, size in fields:
        values = row.get(field)
        if type(values) is not list or len(values) != size:
            return _repair_keypoints(row, fields, report)
        flat += values
    try:
        return _check_keypoints(array("d", flat))
    except (TypeError, OverflowError):
        return _repair_keypoints(row, fields, report)


def _repair_keypoints(
    row: dict[str, Any], fields: Sequence[tuple[str, int]], report: ReportIssue
) -> np.ndarray:
    """Return keypoints [K, 3] of fields that are missing, nested, or not all numbers."""
    if all(row.get(field) in (None, []) for field, _ in fields):
        report(IssueType.NO_KEYPOINTS, "has no keypoints")
        return np.zeros((sum(size for _, size in fields) // 3, 3))
    flat: list[float] = []
    for field, size in fields:
        values = _flatten(row.get(field), 3, field, report)
        if values is None or len(values) != size:
            found = "none" if values is None else f"{len(values)} numbers"
            what = f"has {found} in {field}, not the {size} of the skeleton"
            raise FieldError(IssueType.KEYPOINT_COUNT, what)
        flat += _parse_numbers(values, IssueType.KEYPOINT_VALUE, field, report)
    return _check_keypoints(array("d", flat))


def _check_keypoints(flat: "array[float]") -> np.ndarray:
    """Return numbers as keypoints [K, 3], if they are finite and each v is from 0 to 2."""
    values = np.frombuffer(flat)
    keypoints = values.reshape(-1, 3)
    seen = keypoints[:, 2]
    if not values @ values < _MAX_SQUARES:
        place = int(np.argmin(np.abs(values) < _MAX_COORDINATE))
        what = f"has keypoints that are not finite numbers, {values[place]:g} first"
        raise FieldError(IssueType.KEYPOINT_VALUE, what)
    if seen.min() < 0 or seen.max() > MAX_VISIBILITY:
        wrong = seen[(seen < 0) | (seen > MAX_VISIBILITY)]
        raise FieldError(IssueType.VISIBILITY, f"has a visibility of {wrong[0]:g}")
    return keypoints


def parse_box(value: Any, field: str, report: ReportIssue) -> list[float]:
    """Return a box x, y, width, height in image pixels; zeros where there is none."""
    if type(value) is list and len(value) == 4:
        try:
            if isfinite(sum(value)) and max(map(abs, value)) < _MAX_COORDINATE:
                return value
        except (TypeError, OverflowError):
            pass
    if value in (None, []):
        return _NO_BOX
    values = _flatten(value, 4, field, report)
    if values is None or len(values) != 4:
        raise FieldError(
            IssueType.BOX, f"has the {field} {brief(value)}, which is not x, y, width, height"
        )
    return _parse_numbers(values, IssueType.BOX, field, report)


def box_around(keypoints: np.ndarray) -> list[float]:
    """Return the box x, y, width, height of the labelled ones of keypoints [K, 3]."""
    xy = keypoints[keypoints[:, 2] > 0, :2]
    if not len(xy):
        return _NO_BOX
    return [*xy.min(0).tolist(), *np.ptp(xy, 0).tolist()]


def parse_area(value: Any, segmentation: Any, box: Sequence[float], report: ReportIssue) -> float:
    """Return an area in square image pixels."""
    if value is None:
        report(IssueType.AREA_MISSING, "has no area")
        return segmentation_area(segmentation) or box[2] * box[3]
    return _parse_numbers([value], IssueType.AREA_VALUE, "area", report)[0]


def segmentation_area(segmentation: Any) -> float:
    """Return the area of polygons or of uncompressed runs; 0 for anything else."""
    try:
        if isinstance(segmentation, dict):
            return float(sum(segmentation["counts"][1::2]))
        corners = [np.array(polygon, np.float64).reshape(-1, 2).T for polygon in segmentation]
        areas = [abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 for x, y in corners]
        return float(np.nan_to_num(sum(areas)))
    except (TypeError, ValueError, KeyError, OverflowError):
        return 0.0


def _flatten(value: Any, size: int, field: str, report: ReportIssue) -> list[Any] | None:
    """Return a list without lists of `size` numbers in it; None for what is no list."""
    if not isinstance(value, list):
        return None
    if value and all(isinstance(one, list) and len(one) == size for one in value):
        report(IssueType.NESTED, f"has lists in {field}")
        return [number for one in value for number in one]
    return value


def _parse_numbers(
    values: list[Any], type_: IssueType, field: str, report: ReportIssue
) -> list[float]:
    """Return values as finite numbers."""
    numbers = [_parse_number(value) for value in values]
    for value, number in zip(values, numbers, strict=True):
        if number is None:
            found = f"has {brief(value)} in {field}, which is no finite number"
            raise FieldError(type_, found)
    if any(isinstance(value, str) for value in values):
        report(IssueType.TEXT, f"has text in {field}")
    return [number for number in numbers if number is not None]


def _parse_number(value: object) -> float | None:
    """Return a value as a finite number; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < _MAX_COORDINATE else None  # which NaN is not
