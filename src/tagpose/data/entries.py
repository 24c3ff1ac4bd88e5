"""This file reads one entry of an annotation file, an image or a person, and doubts it."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
from pycocotools import mask as rle

from tagpose.skeleton import Skeleton
from tagpose.structures import MOST_VISIBLE, is_whole

MOST_PIXELS: Final = 2 * 89_478_485  # of an image that Pillow opens

_PACKED_FROM: Final = 48  # "0"
_PACKED_LONGEST: Final = 30  # bits of a run before its last group: an image has fewer pixels
_NO_BOX: Final = [0, 0, 0, 0]
_FILES: Final = {"body": "person_keypoints_*.json", "wholebody": "coco_wholebody_*_v1.0.json"}


def entry(row: object, key: str, place: int, file: Path) -> dict[str, Any]:
    """A row that must be an object, from its place in a list."""
    if not isinstance(row, dict):
        raise ValueError(f"{file}: {key}[{place}] is no object; is the file made by hand?")
    return row


def integer(row: dict[str, Any], key: str, file: Path) -> int:
    """A field that must be a whole number, of 64 bits."""
    value = row.get(key)
    if not is_whole(value):
        raise ValueError(f"{file}: {key} is {value!r} in row {row.get('id')}, not a whole number")
    return value


def image_size(image: dict[str, Any], file: Path) -> tuple[int, int]:
    """Width and height of an image in image pixels."""
    width, height = (integer(image, key, file) for key in ("width", "height"))
    if min(width, height) < 1:
        raise ValueError(f"{file}: image {image['id']} has the size {width} x {height}")
    if width * height > MOST_PIXELS:  # the library of masks has no room for more, and crashes
        raise ValueError(
            f"{file}: image {image['id']} has {width} x {height} pixels; {MOST_PIXELS} are read at "
            "most"
        )
    return width, height


def keypoints_of(row: dict[str, Any], skeleton: Skeleton, file: Path) -> np.ndarray:
    """Keypoints [K, 3] of one annotation: x, y in image pixels, v."""
    keypoints = np.zeros((skeleton.size, 3), np.float32)
    for field, at in skeleton.fields.items():
        flat = row.get(field)
        size = 3 * (at.stop - at.start)
        if not isinstance(flat, list) or len(flat) != size:
            found = f"{len(flat)} numbers" if isinstance(flat, list) else "none"
            raise ValueError(
                f"{file}: annotation {row.get('id')} has {found} in {field}, not {size}; "
                f"the {skeleton.name} skeleton is read from "
                f"{_FILES.get(skeleton.name, 'a file of its own')}"
            )
        try:
            keypoints[at] = np.array(flat, np.float32).reshape(-1, 3)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{file}: annotation {row.get('id')} has something that is no number in {field}"
            ) from error
    if not np.isfinite(keypoints).all():
        raise ValueError(f"{file}: annotation {row.get('id')} has keypoints that are not finite")
    seen = keypoints[:, 2]
    if seen.min() < 0 or seen.max() > MOST_VISIBLE:
        value = seen.min() if seen.min() < 0 else seen.max()
        raise ValueError(
            f"{file}: annotation {row.get('id')} has a visibility of {value:g}, which lies between "
            f"0 and {MOST_VISIBLE}"
        )
    return keypoints


def check_box(row: dict[str, Any], file: Path) -> None:
    """See that a box, where there is one, is four finite numbers, the sides not below 0.

    Raises:
        ValueError: it is not.
    """
    box = row.get("bbox", _NO_BOX)
    if not isinstance(box, list) or len(box) != 4 or not is_box(box):
        raise ValueError(
            f"{file}: annotation {row.get('id')} has the bbox {box!r}, not x, y, width, height"
        )


def boxes_of(row: dict[str, Any], keys: Sequence[str], file: Path) -> np.ndarray:
    """Boxes [n, 4] in fields of a person: left, top, width, height; zeros where none is given.

    Raises:
        ValueError: one is not four finite numbers.
    """
    boxes = [row.get(key) or _NO_BOX for key in keys]
    try:
        values = np.array(boxes, np.float32)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0, np.float32)
    if values.shape != (len(keys), 4) or not np.isfinite(values).all():
        given = dict(zip(keys, boxes, strict=True))
        raise ValueError(
            f"{file}: annotation {row.get('id')} has the boxes {given}, not x, y, width, height"
        )
    return values


def is_box(box: Sequence[Any]) -> bool:
    """Whether four values are a box."""
    try:
        return isfinite(sum(box)) and box[2] >= 0 and box[3] >= 0
    except TypeError:
        return False


def mask_of(
    row: dict[str, Any], size: tuple[int, int], *, reach: float, file: Path
) -> dict[str, Any]:
    """Compressed RLE of an annotation's segmentation, or of its box where it has none.

    Args:
        row: of the annotation.
        size: width, height of its image in image pixels.
        reach: image pixels that a corner may be away from 0.
        file: that the row is from.
    """
    try:
        if row.get("segmentation"):
            return _compressed(row["segmentation"], size, reach)
        x, y, w, h = row["bbox"]
        return _compressed([[x, y, x + w, y, x + w, y + h, x, y + h]], size, reach)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{file}: annotation {row.get('id')} has a segmentation that cannot be read: {error}"
        ) from error


def _compressed(segmentation: Any, size: tuple[int, int], reach: float) -> dict[str, Any]:
    """Compressed RLE of polygons, of runs, or of what is compressed already."""
    width, height = size
    if isinstance(segmentation, list):
        _check_polygons(segmentation, reach)
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    counts = segmentation["counts"]
    if segmentation["size"] != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, not {[height, width]}")
    # the library takes whatever it is told, and reads and writes past its memory
    runs = counts if isinstance(counts, list) else unpacked(counts)
    if not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError("its runs are not lengths")
    if sum(runs) != height * width:
        raise ValueError(f"it covers {sum(runs)} pixels, not {height * width}")
    if isinstance(counts, list):
        return rle.frPyObjects(segmentation, height, width)
    return {"size": [height, width], "counts": counts.encode()}


def unpacked(counts: str) -> list[int]:
    """The runs of a mask that COCO has packed into a text.

    A run has groups of 5 bits, the lowest first, each in a character from "0" on; the sixth bit
    says that another follows, the fifth of the last one is the sign. From the fourth run on it is
    the difference to the one before the last (`rleToString` of pycocotools).

    Raises:
        ValueError: the text is none of these.
    """
    runs: list[int] = []
    value = shift = 0
    for code in counts.encode("latin-1"):
        bits = code - _PACKED_FROM
        if not 0 <= bits < 64 or shift > _PACKED_LONGEST:
            raise ValueError("its runs are packed into a text that is none of COCO's")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its runs end within one")
    return runs


def _check_polygons(polygons: list[list[float]], reach: float) -> None:
    """See that polygons can be drawn."""
    if not all(len(p) >= 6 and len(p) % 2 == 0 for p in polygons):
        raise ValueError("a polygon needs three points, x and y each")
    if not all(abs(value) <= reach for p in polygons for value in p):
        raise ValueError("a polygon leaves the image by far; was it made for another size?")
