"""This file reads what annotations say about people: the ground truth that results are held against."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.data.coco_file import read_coco_file
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, ReadRules
from tagpose.data.issue_log import emit_warnings
from tagpose.data.quality.annotation_checks import log_implausible_areas
from tagpose.skeletons.skeleton import Skeleton


class GroundTruth(NamedTuple):
    """All T annotated people of N images, image by image, in image pixels."""

    image_ids: np.ndarray  # [N] int64, rising
    image: np.ndarray  # [T] int64 places in image_ids, never falling
    keypoints: np.ndarray  # [T, K, 3] float64: x, y, v > 0 where labelled
    areas: np.ndarray  # [T] float64 of the person's mask, square image pixels
    boxes: np.ndarray  # [T, 4] float64: left, top, width, height
    crowd: np.ndarray  # [T] bool: a region of many people
    files: tuple[str, ...] = ()  # [N] names of the image files, "" where missing; () where unknown


def read_ground_truth(
    path: Path, skeleton: Skeleton, options: ReadOptions = DEFAULT_OPTIONS
) -> GroundTruth:
    """The people of an annotation file of COCO or COCO-WholeBody.

    What is skipped or repaired is told in warnings, one for each `IssueType`.

    Args:
        path: of the JSON file.
        skeleton: whose parts are read; BODY reads both kinds of file.
        options: what users decide about reading.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file has an error; the sentence names file and row.
    """
    rules = ReadRules(skeleton, options, with_files=False)
    content = read_coco_file(path, rules, keep_all=True, dtype=np.float64)
    content.log.raise_error()
    log_implausible_areas(content.annotations, content.log)
    emit_warnings(content.log.warning_lines())
    image_ids = np.sort(np.array(list(content.images), np.int64))
    rows = content.annotations
    image = np.searchsorted(image_ids, rows.image_ids)
    order = np.argsort(image, kind="stable")  # within an image the order of the file decides ties
    return GroundTruth(
        image_ids=image_ids,
        image=image[order],
        keypoints=rows.keypoints[order],
        areas=rows.areas[order],
        boxes=rows.boxes[order, 0],
        crowd=rows.is_crowd[order],
        files=tuple(content.images[image_id].file_name for image_id in image_ids.tolist()),
    )


def select_images(ground_truth: GroundTruth, image_ids: Iterable[int]) -> GroundTruth:
    """The ground truth of some of the images.

    Raises:
        ValueError: an image is not in the ground truth.
    """
    wanted = np.unique(np.fromiter(image_ids, np.int64))
    unknown = np.setdiff1d(wanted, ground_truth.image_ids)
    if len(unknown):
        raise ValueError(f"the ground truth has no image {unknown[0]} ({len(unknown)} are unknown)")
    of_image = ground_truth.image_ids[ground_truth.image]  # [T]
    keep = np.isin(of_image, wanted)
    places = np.searchsorted(ground_truth.image_ids, wanted).tolist() if ground_truth.files else []
    return GroundTruth(
        image_ids=wanted,
        image=np.searchsorted(wanted, of_image[keep]),
        keypoints=ground_truth.keypoints[keep],
        areas=ground_truth.areas[keep],
        boxes=ground_truth.boxes[keep],
        crowd=ground_truth.crowd[keep],
        files=tuple(ground_truth.files[place] for place in places),
    )
