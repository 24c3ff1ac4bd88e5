"""Parsers for the fields of annotation rows.

Each parser takes the value of a field and returns it in a normalized form. Repairs are reported
through a callback, and a `FieldError` is raised for values that cannot be read. Values in the usual
form take a fast path, because COCO-WholeBody has 262,000 annotations.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import PurePosixPath
from reprlib import repr as brief
from typing import Any, Final, TypeAlias

import numpy as np

from tagpose.data.issues import IssueType
from tagpose.data.rle_masks import segmentation_area
from tagpose.structures import MAX_VISIBILITY, is_int64

ReportIssue: TypeAlias = Callable[[IssueType, str], None]

MAX_PIXELS: Final = 2 * 89_478_485  # pixels of the largest image that Pillow opens
_MAX_COORDINATE: Final = 1e18  # its square is finite in float32
_MAX_SUM_OF_SQUARES: Final = _MAX_COORDINATE**2  # over the numbers of an annotation
_HASHED_BYTES: Final = 7  # 56 bits, which fit int64 and almost fit a float64 of JSON
_MAX_DIGITS: Final = 19  # of an int64
_NO_BOX: Final = [0.0, 0.0, 0.0, 0.0]


class FieldError(ValueError):
    """Error for a field that cannot be read.

    Args:
        type_: type of the issue.
        detail: what was found, the predicate of a message such as "annotation 5 DETAIL".
    """

    def __init__(self, type_: IssueType, detail: str) -> None:
        super().__init__(detail)
        self.type, self.detail = type_, detail


def parse_id(value: object) -> int | None:
    """Return an id as a 64-bit integer, or None for a value that is not an id.

    A string of digits is converted to that number. Any other string is hashed with SHA-256 to a
    56-bit number, so that annotations and result files agree.
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
    """Return the 64-bit integer that a string of digits stands for, or None."""
    digits = text.lstrip("0") or text[-1:]
    is_number = len(digits) <= _MAX_DIGITS and digits.isascii() and digits.isdecimal()
    return int(digits) if is_number and is_int64(int(digits)) else None


def parse_file_name(row: dict[str, Any]) -> str | None:
    """Return the file name of an image with forward slashes, or None if it has none."""
    name = row.get("file_name")
    if not isinstance(name, str) or "\0" in name:
        return None
    return to_posix_path(name) if name.strip(" ./\\") else None


def to_posix_path(name: str) -> str:
    """Return a file name with forward slashes, as image folders are searched for it."""
    return str(PurePosixPath(name.replace("\\", "/")))


def parse_size(width: object, height: object, report: ReportIssue) -> tuple[int, int]:
    """Return width and height of an image in pixels, or 0, 0 if either is missing."""
    if width is None or height is None:
        report(IssueType.SIZE_MISSING, "has no width or height")
        return 0, 0
    size = tuple(_parse_pixel_count(value, report) for value in (width, height))
    if min(size) < 1:
        detail = f"has the size {brief(width)} x {brief(height)}"
        raise FieldError(IssueType.IMAGE_SIZE, detail)
    if size[0] * size[1] > MAX_PIXELS:  # larger masks crash pycocotools
        detail = f"has {size[0]} x {size[1]} pixels, more than the maximum of {MAX_PIXELS}"
        raise FieldError(IssueType.IMAGE_SIZE, detail)
    return size[0], size[1]


def _parse_pixel_count(value: object, report: ReportIssue) -> int:
    """Return a number of pixels, or 0 for a value that is not an integer."""
    if isinstance(value, str) and (number := _parse_digits(value)) is not None:
        report(IssueType.TEXT, f"has the size {brief(value)}")
        return number
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if is_int64(value) else 0


def parse_crowd(value: object, report: ReportIssue) -> bool:
    """Return whether an annotation is a crowd region."""
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
        row: JSON object of the annotation.
        fields: names of the keypoint fields, with the number of values of each.
        report: callback for repairs.
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
    """Return keypoints [K, 3] from fields that are missing, nested or contain strings."""
    if all(row.get(field) in (None, []) for field, _ in fields):
        report(IssueType.NO_KEYPOINTS, "has no keypoints")
        return np.zeros((sum(size for _, size in fields) // 3, 3))
    flat: list[float] = []
    for field, size in fields:
        values = _flatten(row.get(field), 3, field, report)
        if values is None or len(values) != size:
            raise FieldError(IssueType.KEYPOINT_COUNT, _describe_count(values, field, size))
        flat += _parse_numbers(values, IssueType.KEYPOINT_VALUE, field, report)
    return _check_keypoints(array("d", flat))


def _describe_count(values: list[Any] | None, field: str, size: int) -> str:
    """Describe keypoints that are not `size` numbers."""
    if values is None:
        return f"has no list in {field}, but the skeleton has {size} numbers"
    flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
    hint = ", probably x, y without v" if 3 * len(flat) == 2 * size else ""
    plural = "s" * (len(flat) != 1)
    return f"has {len(flat)} number{plural} in {field}{hint}, but the skeleton has {size}"


def _check_keypoints(flat: "array[float]") -> np.ndarray:
    """Return keypoints [K, 3] after checking that they are finite and that v is from 0 to 2."""
    values = np.frombuffer(flat)
    keypoints = values.reshape(-1, 3)
    visibility = keypoints[:, 2]
    if not values @ values < _MAX_SUM_OF_SQUARES:
        first = values[np.argmin(np.abs(values) < _MAX_COORDINATE)]
        detail = f"has keypoints that are not finite numbers, the first of them {first:g}"
        raise FieldError(IssueType.KEYPOINT_VALUE, detail)
    if visibility.min() < 0 or visibility.max() > MAX_VISIBILITY:
        wrong = visibility[(visibility < 0) | (visibility > MAX_VISIBILITY)]
        raise FieldError(IssueType.VISIBILITY, f"has a visibility of {wrong[0]:g}")
    return keypoints


def find_v0_coordinates(keypoints: np.ndarray) -> np.ndarray:
    """Return a mask [K] of the keypoints [K, 3] that have v = 0 and a position in the image."""
    x, y, v = keypoints.T
    has_position: np.ndarray = (v == 0) & (x >= 0) & (y >= 0) & (x + y > 0)
    return has_position


def parse_box(value: Any, field: str, report: ReportIssue) -> list[float]:
    """Return a box x, y, width, height in image pixels; zeros if it is missing."""
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


def parse_area(value: Any, segmentation: Any, box: Sequence[float], report: ReportIssue) -> float:
    """Return an area in square image pixels."""
    if value is None:
        report(IssueType.AREA_MISSING, "has no area")
        return segmentation_area(segmentation) or box[2] * box[3]
    return _parse_numbers([value], IssueType.AREA_VALUE, "area", report)[0]


def _flatten(value: Any, size: int, field: str, report: ReportIssue) -> list[Any] | None:
    """Return a flat list, joining nested lists of `size` values; None if `value` is not a list."""
    if not isinstance(value, list):
        return None
    if value and all(isinstance(item, list) and len(item) == size for item in value):
        report(IssueType.NESTED, f"has nested lists in {field}")
        return [number for item in value for number in item]
    return value


def _parse_numbers(
    values: list[Any], type_: IssueType, field: str, report: ReportIssue
) -> list[float]:
    """Return values as finite numbers."""
    numbers = [_parse_number(value) for value in values]
    for value, number in zip(values, numbers, strict=True):
        if number is None:
            detail = f"has {brief(value)} in {field}, which is not a finite number"
            raise FieldError(type_, detail)
    if any(isinstance(value, str) for value in values):
        report(IssueType.TEXT, f"has strings in {field}")
    return [number for number in numbers if number is not None]


def _parse_number(value: object) -> float | None:
    """Return a finite number, or None for a value that is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < _MAX_COORDINATE else None  # false for NaN
