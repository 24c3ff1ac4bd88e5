"""This file finds what is wrong with rows as such: no object, no id, an id or a file twice."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import PurePath
from reprlib import repr as brief
from typing import Final

from tagpose.data.annotations import Row
from tagpose.data.entries import MOST_PIXELS
from tagpose.data.inspection.columns import Annotated, Images, whole
from tagpose.data.inspection.kinds import Fault, Found, Kind

_ROOM: Final = f" from 1 on, with {MOST_PIXELS} pixels at most"
_NAMED: Final = 4  # rows at most by which something that stands there again and again is named


def image_row_faults(rows: Sequence[object], images: Images) -> Found:
    """Image rows that cannot be read, and images that stand there twice."""
    yield from _no_objects(rows, "images", Kind.IMAGE_ROW)
    readable = zip(images.where, images.rows, images.names, images.sizes, strict=True)
    for where, row, name, size in readable:
        yield from _no_whole(where, row, ("id",), Kind.IMAGE_ROW)
        if name is None:
            found = brief(row.get("file_name"))
            yield Kind.IMAGE_ROW, Fault(where, f"file_name is {found}, not one in the folder")
        if not size.all():
            found = " x ".join(brief(row.get(key)) for key in ("width", "height"))
            yield Kind.IMAGE_ROW, Fault(where, f"its size is {found}, not of whole numbers{_ROOM}")
    yield from _twice(images.ids, images.where, Kind.IMAGE_ID)
    files = [None if name is None else str(PurePath(name)) for name in images.names]
    yield from _twice(files, images.where, Kind.FILE_NAME)


def annotation_row_faults(rows: Sequence[object], annotated: Annotated) -> Found:
    """Annotation rows that cannot be read, of no image, or with the id of another."""
    yield from _no_objects(rows, "annotations", Kind.ANNOTATION_ROW)
    for where, row, image in zip(annotated.where, annotated.rows, annotated.image, strict=True):
        yield from _no_whole(where, row, ("id", "image_id"), Kind.ANNOTATION_ROW)
        if row.get("iscrowd") not in (0, 1):
            found = brief(row.get("iscrowd"))
            yield Kind.ANNOTATION_ROW, Fault(where, f"iscrowd is {found}, not 0 or 1")
        if image < 0 and whole(row.get("image_id")) is not None:
            yield Kind.STRAY, Fault(where, f"no image has the id {row['image_id']}")
    yield from _twice(annotated.ids, annotated.where, Kind.ANNOTATION_ID)


def _no_objects(rows: Sequence[object], key: str, kind: Kind) -> Found:
    """Rows that are something else than an object of JSON."""
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            yield kind, Fault(f"{key}[{place}]", f"is {brief(row)}, no object")


def _no_whole(where: str, row: Row, keys: Iterable[str], kind: Kind) -> Found:
    """Fields of a row that are no whole number and must be."""
    for key in keys:
        if whole(row.get(key)) is None:
            yield kind, Fault(where, f"{key} is {brief(row.get(key))}, no whole number")


def _twice(values: Sequence[Hashable], where: Sequence[str], kind: Kind) -> Found:
    """Values that more than one row has; None is none."""
    places = defaultdict(list)
    for place, value in enumerate(values):
        if value is not None:
            places[value].append(place)
    for value, rows in places.items():
        if len(rows) > 1:
            named = ", ".join(dict.fromkeys(where[row] for row in rows[:_NAMED]))
            yield kind, Fault(named, f"{brief(value)} stands in the rows {brief(rows)}")
