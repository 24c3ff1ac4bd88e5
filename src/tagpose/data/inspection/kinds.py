"""This file names what can be wrong in a data set, what it would do, and how to mend it."""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """Faults that do the same harm and are mended alike; the value is what a listing says."""

    IMAGE_ROW = "image rows that cannot be read: training refuses the file; repair or remove them"
    ANNOTATION_ROW = (
        "annotation rows that cannot be read: they are refused or misread; repair or remove them"
    )
    IMAGE_ID = (
        "image ids that stand twice: training refuses the file, as nobody knows whose people they "
        "are; give each its own id"
    )
    ANNOTATION_ID = (
        "annotation ids that stand twice: training refuses the file, and official tools score the "
        "last row in place of the others; number them anew"
    )
    FILE_NAME = (
        "files that stand twice: people of one row are background in the other; keep one row"
    )
    STRAY = "annotations of no image: training refuses the file; add the image, or remove the rows"
    LENGTH = (
        "keypoints of a wrong length: training refuses the file; coco_wholebody_*_v1.0.json is "
        "read with skeleton=wholebody, person_keypoints_*.json with skeleton=body"
    )
    VALUE = (
        "keypoints that are no finite numbers: training refuses the file; those that nobody "
        "labelled are 0, 0, 0"
    )
    FLAG = (
        "valid flags against v: v alone is read here, but other programs go by the flag; "
        "it is true where some v of the part is above 0"
    )
    OUTSIDE = (
        "labelled keypoints outside of the image: the network learns to see people in black "
        "margins; their v is to be 0"
    )
    VISIBILITY = (
        "visibilities that are not from 0 to 2: training refuses the file; 0 is not labelled, 2 is "
        "labelled and visible"
    )
    BOX = (
        "boxes that are not x, y, width, height, or have a side below 0: training refuses the file"
    )
    BOX_PLACE = (
        "boxes of no area or outside of the image: masks and the scores of people without "
        "keypoints go by them; x, y, width, height are in image pixels"
    )
    AREA_VALUE = (
        "areas that are no number: scores refuse the file; take that of the mask, or of the box"
    )
    AREA = (
        "areas that are not above 0: the allowance of OKS goes by them, so nobody scores there; "
        "take that of the mask, or of the box"
    )
    SEGMENTATION = (
        "outlines of crowds and people without keypoints that cannot be read: training refuses "
        "the file; an empty list takes the box in their place"
    )
    MISSING = (
        "missing files: training refuses the data set; put them there, or point data.root to them"
    )
    PICTURE = (
        "pictures that cannot be read or have another size than stated: training stops when it "
        "comes to them; fetch them again, as they were when they were annotated"
    )


class Fault(NamedTuple):
    """One thing that is wrong."""

    where: str  # the image or annotation by its id, or by its place in the file where it has none
    what: str  # was found there


Found = Iterator[tuple[Kind, Fault]]  # what every check hands on


def listing(faults: dict[Kind, list[Fault]], shown: int) -> Iterator[str]:
    """Lines for people: every kind with its number, and the first `shown` faults of it."""
    for kind in Kind:
        if kind in faults:
            yield f"{len(faults[kind])} x {kind.value}"
            yield from _first(faults[kind], shown)


def _first(faults: Sequence[Fault], shown: int) -> Iterator[str]:
    """The first faults of a kind, and how many there are besides."""
    for fault in faults[:shown]:
        yield f"    {fault.where}: {fault.what}"
    if shown < len(faults):
        yield f"    and {len(faults) - shown} more"
