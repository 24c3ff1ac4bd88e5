"""This file reads what annotations say about people: the truth that results are held against."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.data.coco_file import read_coco_file
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, Rules
from tagpose.data.implausible_areas import log_implausible_areas
from tagpose.data.issue_log import warn_all
from tagpose.skeleton import Skeleton


class Truth(NamedTuple):
    """All T annotated people of N images, image by image, in image pixels."""

    image_ids: np.ndarray  # [N] int64, rising
    image: np.ndarray  # [T] int64 places in image_ids, never falling
    keypoints: np.ndarray  # [T, K, 3] float64: x, y, v > 0 where labelled
    areas: np.ndarray  # [T] float64 of the person's mask, square image pixels
    boxes: np.ndarray  # [T, 4] float64: left, top, width, height
    crowd: np.ndarray  # [T] bool: a region of many people
    files: tuple[str, ...] = ()  # [N] names of the image files, "" where missing; () where unknown


def read_truth(path: Path, skeleton: Skeleton, options: ReadOptions = DEFAULT_OPTIONS) -> Truth:
    """The people of an annotation file of COCO or COCO-WholeBody.

    What is skipped or repaired is told in warnings, one for each `IssueType`.

    Args:
        path: of the JSON file.
        skeleton: whose limbs are read; BODY reads both kinds of file.
        options: what users decide about reading.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file has an error; the sentence names file and row.
    """
    rules = Rules(skeleton, options, files=False)
    content = read_coco_file(path, rules, every=True, dtype=np.float64)
    content.log.raise_error()
    log_implausible_areas(content.annotations, content.log)
    warn_all(content.log.lines())
    image_ids = np.sort(np.array(list(content.images), np.int64))
    rows = content.annotations
    image = np.searchsorted(image_ids, rows.image_ids)
    order = np.argsort(image, kind="stable")  # within an image the order of the file decides ties
    return Truth(
        image_ids=image_ids,
        image=image[order],
        keypoints=rows.keypoints[order],
        areas=rows.areas[order],
        boxes=rows.boxes[order, 0],
        crowd=rows.crowd[order],
        files=tuple(content.images[image_id].file_name for image_id in image_ids.tolist()),
    )


def select(truth: Truth, image_ids: Iterable[int]) -> Truth:
    """The truth of some of the images.

    Raises:
        ValueError: an image is not in the truth.
    """
    wanted = np.unique(np.fromiter(image_ids, np.int64))
    unknown = np.setdiff1d(wanted, truth.image_ids)
    if len(unknown):
        raise ValueError(f"the truth has no image {unknown[0]} ({len(unknown)} are unknown)")
    of_image = truth.image_ids[truth.image]  # [T]
    keep = np.isin(of_image, wanted)
    places = np.searchsorted(truth.image_ids, wanted).tolist() if truth.files else []
    return Truth(
        image_ids=wanted,
        image=np.searchsorted(wanted, of_image[keep]),
        keypoints=truth.keypoints[keep],
        areas=truth.areas[keep],
        boxes=truth.boxes[keep],
        crowd=truth.crowd[keep],
        files=tuple(truth.files[place] for place in places),
    )
