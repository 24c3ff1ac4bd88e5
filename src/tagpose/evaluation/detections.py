"""This file lays the predicted people in all images into columns, with their ranks in each part."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import ResultExtras
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.predictions import validate_poses
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

MAX_DETECTIONS: Final = 20  # an image, the best by score (COCO keypoint evaluation)


class Detections(NamedTuple):
    """D predicted people, image by image."""

    image: np.ndarray  # [D] int64 places in the ground truth's image_ids
    keypoints: np.ndarray  # [D, K, 3] x, y in image pixels, score; in their own precision
    scores: np.ndarray  # [Q, D] float64, what each part ranks them by
    areas: np.ndarray  # [D] float64, the same for every part, square image pixels
    ranks: np.ndarray  # [Q, D] int64 place in its image among those that count in part q, or -1


def build_detections(
    predictions: Mapping[int, Poses],
    extras: ResultExtras,
    ground_truth: GroundTruth,
    skeleton: Skeleton,
) -> Detections:
    """Columns of the people that count in at least one part.

    A person counts in a part with a score above 0 somewhere in it, among the best of the image.
    Arguments are those of `part_scores`.

    Raises:
        ValueError: the ground truth has no such image, or people are malformed or not finite.
    """
    ids = _check_and_sort_ids(predictions, ground_truth, skeleton)
    counts = [len(predictions[image_id].scores) for image_id in ids]
    image = np.repeat(np.searchsorted(ground_truth.image_ids, ids), counts)
    keypoints = _concatenate(
        [predictions[image_id].keypoints for image_id in ids], (skeleton.size, 3)
    )
    each = _concatenate([predictions[image_id].scores for image_id in ids], ()).astype(np.float64)
    scores = np.repeat(each[:, None], len(skeleton.parts), 1)  # [D, Q]
    # of all of them, whatever their scores, as in the official evaluation
    main = keypoints[:, skeleton.json_keys["keypoints"], :2].swapaxes(
        1, 2
    )  # [D, 2, 17] of the body
    areas = np.ptp(main.astype(np.float64, order="C"), 2).prod(1)
    for image_id, end, count in zip(ids, np.cumsum(counts).tolist(), counts, strict=True):
        rows = slice(end - count, end)
        scores[rows] = extras.scores.get(image_id, scores[rows])
        areas[rows] = extras.areas.get(image_id, areas[rows])
    ranks = _rank_within_images(image, scores.T, keypoints[..., 2] > 0, skeleton)
    keep = (ranks >= 0).any(0)
    return Detections(image[keep], keypoints[keep], scores[keep].T, areas[keep], ranks[:, keep])


def _check_and_sort_ids(
    predictions: Mapping[int, Poses], ground_truth: GroundTruth, skeleton: Skeleton
) -> list[int]:
    """The image ids, rising, after a look at the people."""
    unknown = sorted(set(predictions) - set(ground_truth.image_ids.tolist()))
    if unknown:
        raise ValueError(
            f"people were predicted in image {unknown[0]}, which the ground truth does not have "
            f"({len(unknown)} such images); were results and annotations made from one split?"
        )
    for image_id, people in predictions.items():
        validate_poses(image_id, people, skeleton)
    return sorted(predictions)


def _concatenate(arrays: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Arrays [P, *shape] of all images as one, in their own precision; also where there is none."""
    return np.concatenate([np.empty((0, *shape), np.float32), *arrays])


def _rank_within_images(
    image: np.ndarray, scores: np.ndarray, present: np.ndarray, skeleton: Skeleton
) -> np.ndarray:
    """Place [Q, D] of each detection in its image, per part; -1 where it does not count.

    Args:
        image: [D], never falling.
        scores: [Q, D]; of equal ones the earlier is better.
        present: [D, K] bool, whether the keypoint has a score above 0.
        skeleton: whose Q parts are meant.
    """
    ranks = np.full(scores.shape, -1)
    for rank, score, at in zip(ranks, scores, skeleton.parts.values(), strict=True):
        counting = np.flatnonzero(present[:, at].any(1))
        order = counting[np.lexsort((-score[counting], image[counting]))]
        place = np.arange(len(order)) - np.searchsorted(image[order], image[order])
        rank[order] = np.where(place < MAX_DETECTIONS, place, -1)
    return ranks
