"""Ground truth of the evaluation, read from COCO and COCO-WholeBody annotations."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.data.coco_file import read_coco_file
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, ReadRules
from tagpose.data.issues import emit_warnings
from tagpose.data.quality.dataset_checks import log_implausible_areas
from tagpose.skeletons.skeleton import Skeleton


class GroundTruth(NamedTuple):
    """All T annotated people of N images, image by image, in image pixels."""

    image_ids: np.ndarray  # [N] int64, increasing
    image: np.ndarray  # [T] int64 index into image_ids, non-decreasing
    keypoints: np.ndarray  # [T, K, 3] float64: x, y, v > 0 where labeled
    areas: np.ndarray  # [T] float64 of the person's mask, square image pixels
    boxes: np.ndarray  # [T, 4] float64: left, top, width, height
    crowd: np.ndarray  # [T] bool: a region of many people
    files: tuple[str, ...] = ()  # [N] names of the image files, "" if missing; () if unknown
    sizes: tuple[tuple[int, int], ...] = ()  # [N] annotated width, height, 0 if missing; or ()


def read_ground_truth(
    path: Path, skeleton: Skeleton, options: ReadOptions = DEFAULT_OPTIONS
) -> GroundTruth:
    """Read the people of a COCO or COCO-WholeBody annotation file.

    Skipped and repaired annotations are reported in one warning per `IssueType`.

    Args:
        path: JSON file.
        skeleton: skeleton to read; BODY reads both kinds of files.
        options: how invalid annotations are handled.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file contains an error; the message has file and row.
    """
    rules = ReadRules(skeleton, options, with_files=False)
    content = read_coco_file(path, rules, keep_all=True, dtype=np.float64)
    content.log.raise_error()
    annotations = content.annotations
    log_implausible_areas(annotations, content.log)
    emit_warnings(content.log.warning_lines())
    image_ids = np.sort(np.array(list(content.images), np.int64))
    image = np.searchsorted(image_ids, annotations.image_ids)
    images = [content.images[image_id] for image_id in image_ids.tolist()]
    order = np.argsort(image, kind="stable")  # the order within an image breaks ties
    return GroundTruth(
        image_ids=image_ids,
        image=image[order],
        keypoints=annotations.keypoints[order],
        areas=annotations.areas[order],
        boxes=annotations.boxes[order, 0],
        crowd=annotations.is_crowd[order],
        files=tuple(image.file_name for image in images),
        sizes=tuple((image.width, image.height) for image in images),
    )


def select_images(ground_truth: GroundTruth, image_ids: Iterable[int]) -> GroundTruth:
    """Return the ground truth of a subset of the images.

    Raises:
        ValueError: if an image is not in the ground truth.
    """
    selected = np.unique(np.fromiter(image_ids, np.int64))
    unknown = np.setdiff1d(selected, ground_truth.image_ids)
    if len(unknown):
        raise ValueError(
            f"the ground truth has no image {unknown[0]} ({len(unknown)} are unknown); use "
            "results and annotations of the same images"
        )
    person_image_ids = ground_truth.image_ids[ground_truth.image]  # [T]
    keep = np.isin(person_image_ids, selected)
    indices = np.searchsorted(ground_truth.image_ids, selected).tolist()
    return GroundTruth(
        image_ids=selected,
        image=np.searchsorted(selected, person_image_ids[keep]),
        keypoints=ground_truth.keypoints[keep],
        areas=ground_truth.areas[keep],
        boxes=ground_truth.boxes[keep],
        crowd=ground_truth.crowd[keep],
        files=tuple(ground_truth.files[n] for n in indices) if ground_truth.files else (),
        sizes=tuple(ground_truth.sizes[n] for n in indices) if ground_truth.sizes else (),
    )


def labeled_parts(ground_truth: GroundTruth, skeleton: Skeleton) -> np.ndarray:
    """Return whether a person has a labeled keypoint in a part, [T, Q] bool."""
    labeled = ground_truth.keypoints[..., 2] > 0
    return np.stack([labeled[:, at].any(1) for at in skeleton.parts.values()], 1)
