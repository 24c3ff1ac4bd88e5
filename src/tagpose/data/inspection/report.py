"""This file inspects a data set: counts and faults of one annotation file and its pictures."""

from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tagpose.data.annotations import Row, description_of, read_lists
from tagpose.data.inspection.columns import Annotated, Images, lay_annotated, lay_images
from tagpose.data.inspection.coverage import Coverage, count
from tagpose.data.inspection.files import file_faults
from tagpose.data.inspection.kinds import Fault, Found, Kind
from tagpose.data.inspection.people import people_faults
from tagpose.data.inspection.rows import annotation_row_faults, image_row_faults
from tagpose.skeleton import Skeleton


class Inspection(NamedTuple):
    """What a data set has, and what is wrong with it."""

    description: str  # what the file says it is
    coverage: Coverage
    faults: dict[Kind, list[Fault]]  # no kind without a fault


def inspect(file: Path, folder: Path, skeleton: Skeleton, *, pixels: bool = False) -> Inspection:
    """Count what a data set has and find all that is wrong with it; no fault ends this.

    Args:
        file: of the annotations, COCO keypoints or COCO-WholeBody.
        folder: of the images.
        skeleton: whose keypoints are looked at; its parts name the fields.
        pixels: whether pictures are read whole; see `file_faults`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or has no lists of images and annotations.
    """
    content = read_lists(file)
    images = lay_images(content["images"])
    annotated = lay_annotated(content["annotations"], images, skeleton)
    faults = defaultdict(list)
    for kind, fault in chain(
        row_faults(content, images, annotated, skeleton),
        file_faults(images, folder, pixels=pixels),
    ):
        faults[kind].append(fault)
    return Inspection(
        description_of(content, file), count(images, annotated, skeleton), dict(faults)
    )


def row_faults(content: Row, images: Images, annotated: Annotated, skeleton: Skeleton) -> Found:
    """All that is wrong with the rows of a file, whatever lies in the folder of its images."""
    return chain(
        image_row_faults(content["images"], images),
        annotation_row_faults(content["annotations"], annotated),
        people_faults(annotated, skeleton),
    )
