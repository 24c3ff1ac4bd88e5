"""This file lays the rows of an annotation file in columns, whatever state the rows are in.

What cannot be read leaves a hole, None or NaN, so that checks run over whole columns and only the
rows with a hole are looked at one by one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagpose.data.annotations import Row, is_inside
from tagpose.data.entries import MOST_PIXELS
from tagpose.skeleton import Skeleton
from tagpose.structures import is_whole

# What a valid flag says. Files of the body have none.
INVALID, VALID, UNSAID, UNREADABLE = range(4)


class Images(NamedTuple):
    """The N image rows that are objects."""

    rows: list[Row]
    where: list[str]  # [N] what each is found by
    ids: list[int | None]  # [N]
    names: list[str | None]  # [N] in the folder of the images
    sizes: np.ndarray  # [N, 2] int64: width, height in image pixels; 0 for one that is not stated


class Annotated(NamedTuple):
    """The T annotation rows that are objects, people and crowds; F are the limbs of a skeleton."""

    rows: list[Row]
    where: list[str]  # [T] what each is found by
    ids: list[int | None]  # [T]
    image: np.ndarray  # [T] int64 place in the images, -1 for none of them
    sizes: np.ndarray  # [T, 2] int64 of that image in image pixels; 0 where it is not known
    crowd: np.ndarray  # [T] bool
    areas: np.ndarray  # [T] float64, square image pixels
    boxes: np.ndarray  # [T, 4] float64: left, top, width, height in image pixels
    keypoints: np.ndarray  # [T, K, 3] float32: x, y in image pixels, v > 0 where labelled
    flags: np.ndarray  # [T, F] int8: what the limbs' valid flags say, a constant of below
    readable: np.ndarray  # [T, F] bool: whether the keypoints of a limb could be read


def lay_images(rows: Sequence[object]) -> Images:
    """Columns of the image rows."""
    kept = {place: row for place, row in enumerate(rows) if isinstance(row, dict)}
    sizes = [_size(row) for row in kept.values()]
    return Images(
        rows=list(kept.values()),
        where=[_where("image", place, row) for place, row in kept.items()],
        ids=[whole(row.get("id")) for row in kept.values()],
        names=[_name(row.get("file_name")) for row in kept.values()],
        sizes=np.array(sizes, np.int64).reshape(-1, 2).clip(min=0),
    )


def lay_annotated(rows: Sequence[object], images: Images, skeleton: Skeleton) -> Annotated:
    """Columns of the annotation rows; of images with the same id the last one counts."""
    kept = {place: row for place, row in enumerate(rows) if isinstance(row, dict)}
    objects = list(kept.values())
    places = {image_id: n for n, image_id in enumerate(images.ids) if image_id is not None}
    of_image = (whole(row.get("image_id")) for row in objects)
    image = np.array([-1 if i is None else places.get(i, -1) for i in of_image], np.int64)
    keypoints = _lay_keypoints(objects, skeleton)
    return Annotated(
        rows=objects,
        where=[_where("annotation", place, row) for place, row in kept.items()],
        ids=[whole(row.get("id")) for row in objects],
        image=image,
        # the row behind the last one is what image -1 finds
        sizes=np.concatenate([images.sizes, np.zeros((1, 2), np.int64)])[image],
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in objects], bool),
        areas=np.array([_numbers([row.get("area")], 1)[0] for row in objects], float),
        boxes=np.array([_numbers(row.get("bbox"), 4) for row in objects]).reshape(-1, 4),
        keypoints=keypoints,
        flags=_lay_flags(objects, skeleton),
        readable=_readable(keypoints, skeleton),
    )


def whole(value: object) -> int | None:
    """A whole number that fits 64 bits; None for all else."""
    return value if is_whole(value) else None


def _size(row: Row) -> tuple[int, int]:
    """Width and height in image pixels; 0 for one that is not stated, or has no room in memory."""
    width, height = (whole(row.get(key)) or 0 for key in ("width", "height"))
    return (width, height) if width * height <= MOST_PIXELS else (0, 0)


def _where(noun: str, place: int, row: Row) -> str:
    """What a row is found by: its id, or its place in the file."""
    row_id = whole(row.get("id"))
    return f"{noun}s[{place}]" if row_id is None else f"{noun} {row_id}"


def _name(value: object) -> str | None:
    """A name that stays inside of the folder; None for all else."""
    return str(value) if is_inside(value) else None


def _numbers(values: object, size: int) -> np.ndarray:
    """Numbers [size], NaN throughout where `values` is no list of as many numbers."""
    if isinstance(values, list) and len(values) == size:
        try:
            numbers = np.array(values)
        except ValueError:  # lists in the list, of several lengths
            return np.full(size, np.nan)
        if numbers.ndim == 1 and numbers.dtype.kind in "iuf":
            return numbers
    return np.full(size, np.nan)


def _lay_keypoints(rows: Sequence[Row], skeleton: Skeleton) -> np.ndarray:
    """Keypoints [T, K, 3] float32; NaN where a field has the wrong length or no numbers."""
    keypoints = np.empty((len(rows), skeleton.size, 3), np.float32)
    with np.errstate(over="ignore"):  # too large is infinite, and told as such
        for one, row in zip(keypoints, rows, strict=True):
            for field, at in skeleton.fields.items():
                size = 3 * (at.stop - at.start)
                one[at] = _numbers(row.get(field), size).reshape(-1, 3)
    return keypoints


def _readable(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Whether all numbers of a limb are finite, [T, F]."""
    limbs = [np.isfinite(keypoints[:, at]).all(axis=(1, 2)) for at in skeleton.limbs.values()]
    return np.stack(limbs, axis=1)


def _lay_flags(rows: Sequence[Row], skeleton: Skeleton) -> np.ndarray:
    """What the valid flags of the limbs say, [T, F]."""
    keys = [f"{part}_valid" for part in skeleton.limbs]
    said = [[_flag(row[key]) if key in row else UNSAID for key in keys] for row in rows]
    return np.array(said, np.int8).reshape(-1, len(keys))


def _flag(value: object) -> int:
    """What a flag says; 0 and 1 stand for false and true."""
    if isinstance(value, int) and value in (0, 1):
        return VALID if value else INVALID
    return UNREADABLE
