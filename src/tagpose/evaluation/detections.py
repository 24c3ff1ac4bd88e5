"""This file lays the people found in all images into columns, in the order of the evaluation."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.rows import check_people
from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton
from tagpose.structures import People

MAX_DETECTIONS: Final = 20  # an image, the best by score (COCO keypoint evaluation)


class Detections(NamedTuple):
    """D people found, image by image, the best of an image first."""

    image: np.ndarray  # [D] int64 places in the truth's image_ids
    points: np.ndarray  # [2, D, K] float64 x, y in image pixels
    scores: np.ndarray  # [D] float64
    areas: np.ndarray  # [D] float64: of the body's extent, for every part, square image pixels
    ranks: np.ndarray  # [Q, D] int64 place in its image among those that count in part q, or -1


def lay_out(found: Mapping[int, People], truth: Truth, skeleton: Skeleton) -> Detections:
    """Columns of the people that count in at least one part.

    A person counts in a part with a score above 0 somewhere in it, among the best of the image.

    Raises:
        ValueError: the truth has no such image, or people are malformed or not finite.
    """
    unknown = sorted(set(found) - set(truth.image_ids.tolist()))
    if unknown:
        raise ValueError(
            f"people were found in image {unknown[0]}, which the truth does not have "
            f"({len(unknown)} such images); were results and annotations made from one split?"
        )
    people = [found[image_id] for image_id in sorted(found)]
    for image_id, some in zip(sorted(found), people, strict=True):
        check_people(image_id, some, skeleton)
    counts = [len(some.scores) for some in people]
    image = np.repeat(np.searchsorted(truth.image_ids, sorted(found)), counts)
    scores = np.concatenate([np.empty(0), *(some.scores for some in people)])
    order = np.lexsort((-scores, image))  # stable: equal scores stay as they came
    keypoints = np.concatenate([np.empty((0, skeleton.size, 3)), *(p.keypoints for p in people)])
    ranks = _ranks(image, (keypoints[order, :, 2] > 0), skeleton)
    keep = (ranks >= 0).any(0)
    order = order[keep]
    points = np.stack([keypoints[order, :, 0], keypoints[order, :, 1]])
    areas = np.ptp(points[:, :, skeleton.parts["body"]], axis=2).prod(0)
    return Detections(image[order], points, scores[order], areas, ranks[:, keep])


def _ranks(image: np.ndarray, present: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Place [Q, D] of each detection in its image, per part; -1 where it does not count.

    Args:
        image: [D], never falling.
        present: [D, K] bool, whether the keypoint has a score above 0.
        skeleton: whose Q parts are meant.
    """
    counts = np.stack([present[:, at].any(1) for at in skeleton.parts.values()])  # [Q, D]
    before = np.cumsum(counts, 1) - counts
    first = np.searchsorted(image, image)  # [D] where the detection's image begins
    ranks = before - before[:, first]
    return np.where(counts & (ranks < MAX_DETECTIONS), ranks, -1)
