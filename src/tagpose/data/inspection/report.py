"""This file inspects a data set: counts and faults of one annotation file and its pictures."""

import json
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tagpose.data.inspection.columns import lay_annotated, lay_images
from tagpose.data.inspection.coverage import Coverage, count
from tagpose.data.inspection.files import file_faults
from tagpose.data.inspection.kinds import Fault, Kind
from tagpose.data.inspection.people import people_faults
from tagpose.data.inspection.rows import annotation_row_faults, image_row_faults
from tagpose.skeleton import Skeleton


class Inspection(NamedTuple):
    """What a data set has, and what is wrong with it."""

    description: str  # what the file says it is
    coverage: Coverage
    faults: dict[Kind, list[Fault]]  # no kind without a fault


class _Content(NamedTuple):
    """What an annotation file holds, not yet looked at."""

    description: str
    images: list[object]
    annotations: list[object]


def inspect(file: Path, folder: Path, skeleton: Skeleton) -> Inspection:
    """Count what a data set has and find all that is wrong with it; no fault ends this.

    Args:
        file: of the annotations, COCO keypoints or COCO-WholeBody.
        folder: of the images.
        skeleton: whose keypoints are looked at; its parts name the fields.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or has no lists of images and annotations.
    """
    content = _read(file)
    images = lay_images(content.images)
    annotated = lay_annotated(content.annotations, images, skeleton)
    faults = defaultdict(list)
    for kind, fault in chain(
        image_row_faults(content.images, images),
        annotation_row_faults(content.annotations, annotated),
        people_faults(annotated, skeleton),
        file_faults(images, folder),
    ):
        faults[kind].append(fault)
    return Inspection(content.description, count(images, annotated, skeleton), dict(faults))


def _read(file: Path) -> _Content:
    """The lists of a file, whatever is in them."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; data.root must hold the official layout")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no whole JSON file: {error}; fetch it again") from error
    content = content if isinstance(content, dict) else {}
    images, annotations = content.get("images"), content.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise ValueError(
            f"{file} has no lists of images and annotations; is it an annotation file of COCO?"
        )
    info = content.get("info")
    description = info.get("description") if isinstance(info, dict) else None
    said = description if isinstance(description, str) and description else file.name
    return _Content(said, images, annotations)
