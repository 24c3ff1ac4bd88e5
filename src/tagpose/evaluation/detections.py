"""Detections: predicted people of all images as arrays, ranked within each image and part."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import ResultExtras
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.predictions import validate_poses
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

MAX_DETECTIONS: Final = 20  # per image, the best by score (COCO keypoint evaluation)


class Detections(NamedTuple):
    """D predicted people, image by image."""

    image: np.ndarray  # [D] int64 index into the ground truth's image_ids
    keypoints: np.ndarray  # [D, K, 3] x, y in image pixels, score; dtype of the predictions
    scores: np.ndarray  # [Q, D] float64 ranking score in each part
    areas: np.ndarray  # [D] float64, the same for every part, square image pixels
    ranks: np.ndarray  # [Q, D] int64 rank within the image in part q; -1 if not evaluated there


def build_detections(
    predictions: Mapping[int, Poses],
    extras: ResultExtras,
    ground_truth: GroundTruth,
    skeleton: Skeleton,
) -> Detections:
    """Collect the people that are evaluated in at least one part.

    A person is evaluated in a part if one of its keypoints has a positive score and the person is
    among the best 20 of the image. The arguments are those of `evaluate_parts`.

    Raises:
        ValueError: if an image is not in the ground truth, or poses are malformed or not finite.
    """
    image_ids = _validated_image_ids(predictions, ground_truth, skeleton)
    counts = [len(predictions[image_id].scores) for image_id in image_ids]
    image = np.repeat(np.searchsorted(ground_truth.image_ids, image_ids), counts)
    keypoints = _concatenate(
        [predictions[image_id].keypoints for image_id in image_ids], (skeleton.size, 3)
    )
    person_scores = _concatenate([predictions[image_id].scores for image_id in image_ids], ())
    scores = np.repeat(person_scores.astype(np.float64)[:, None], len(skeleton.parts), 1)  # [D, Q]
    areas = _body_extents(keypoints, skeleton)
    for image_id, end, count in zip(image_ids, np.cumsum(counts).tolist(), counts, strict=True):
        rows = slice(end - count, end)
        scores[rows] = extras.scores.get(image_id, scores[rows])
        areas[rows] = extras.areas.get(image_id, areas[rows])
    ranks = _rank_within_images(image, scores.T, keypoints[..., 2] > 0, skeleton)
    keep = (ranks >= 0).any(0)
    return Detections(image[keep], keypoints[keep], scores[keep].T, areas[keep], ranks[:, keep])


def _validated_image_ids(
    predictions: Mapping[int, Poses], ground_truth: GroundTruth, skeleton: Skeleton
) -> list[int]:
    """Return the sorted image ids, after validating the predictions."""
    unknown = sorted(set(predictions) - set(ground_truth.image_ids.tolist()))
    if unknown:
        raise ValueError(
            f"there are predictions for image {unknown[0]}, which is not in the ground truth "
            f"({len(unknown)} such images); use results and annotations of the same split"
        )
    for image_id, people in predictions.items():
        validate_poses(image_id, people, skeleton)
    return sorted(predictions)


def _body_extents(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return the areas [D] of the boxes around all body keypoints, in square image pixels.

    Like the official evaluation, this includes keypoints with a score of 0.
    """
    body = keypoints[:, skeleton.json_keys["keypoints"], :2].swapaxes(1, 2)  # [D, 2, 17]
    areas: np.ndarray = np.ptp(body.astype(np.float64, order="C"), 2).prod(1)
    return areas


def _concatenate(arrays: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Concatenate arrays [P, *shape] of all images, keeping their dtype; there may be none."""
    return np.concatenate([np.empty((0, *shape), np.float32), *arrays])


def _rank_within_images(
    image: np.ndarray, scores: np.ndarray, present: np.ndarray, skeleton: Skeleton
) -> np.ndarray:
    """Return the rank [Q, D] of each detection within its image per part; -1 if not evaluated.

    Args:
        image: [D] image of each detection, non-decreasing.
        scores: [Q, D] ranking scores; of equal scores the earlier detection ranks higher.
        present: [D, K] bool, whether a keypoint has a positive score.
        skeleton: skeleton with Q parts.
    """
    ranks = np.full(scores.shape, -1)
    for part_ranks, part_scores, at in zip(ranks, scores, skeleton.parts.values(), strict=True):
        evaluated = np.flatnonzero(present[:, at].any(1))
        order = evaluated[np.lexsort((-part_scores[evaluated], image[evaluated]))]
        rank = np.arange(len(order)) - np.searchsorted(image[order], image[order])
        part_ranks[order] = np.where(rank < MAX_DETECTIONS, rank, -1)
    return ranks
