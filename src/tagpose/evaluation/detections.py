"""This file lays the people found in all images into columns, in the order of the evaluation."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.refusal import check_people
from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton
from tagpose.structures import People

MAX_DETECTIONS: Final = 20  # an image, the best by score (COCO keypoint evaluation)


class Detections(NamedTuple):
    """D people found, image by image, the best of an image first."""

    image: np.ndarray  # [D] int64 places in the truth's image_ids
    points: np.ndarray  # [2, D, K] float64 x, y in image pixels
    scores: np.ndarray  # [D] float64
    areas: np.ndarray  # [D] float64, the same for every part, square image pixels
    ranks: np.ndarray  # [Q, D] int64 place in its image among those that count in part q, or -1


def lay_out(
    found: Mapping[int, People],
    areas: Mapping[int, np.ndarray],
    truth: Truth,
    skeleton: Skeleton,
) -> Detections:
    """Columns of the people that count in at least one part.

    A person counts in a part with a score above 0 somewhere in it, among the best of the image.
    Arguments are those of `part_scores`.

    Raises:
        ValueError: the truth has no such image, or people are malformed or not finite.
    """
    ids = _known(found, truth, skeleton)
    counts = [len(found[n].scores) for n in ids]
    image = np.repeat(np.searchsorted(truth.image_ids, ids), counts)
    scores = _join([found[n].scores for n in ids], ())
    keypoints = _join([found[n].keypoints for n in ids], (skeleton.size, 3))
    body = skeleton.parts["body"]
    extents = [areas[n] if n in areas else _extents(found[n].keypoints[:, body]) for n in ids]
    order = np.lexsort((-scores, image))  # stable: equal scores stay as they came
    ranks = _ranks(image, keypoints[order, :, 2] > 0, skeleton)
    keep = (ranks >= 0).any(0)
    order = order[keep]
    points = np.stack([keypoints[order, :, 0], keypoints[order, :, 1]])
    sizes = _join(extents, ())[order]
    return Detections(image[order], points, scores[order], sizes, ranks[:, keep])


def _known(found: Mapping[int, People], truth: Truth, skeleton: Skeleton) -> list[int]:
    """The image ids, rising, after a look at the people."""
    unknown = sorted(set(found) - set(truth.image_ids.tolist()))
    if unknown:
        raise ValueError(
            f"people were found in image {unknown[0]}, which the truth does not have "
            f"({len(unknown)} such images); were results and annotations made from one split?"
        )
    for image_id, people in found.items():
        check_people(image_id, people, skeleton)
    return sorted(found)


def _join(arrays: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Arrays [P, *shape] of all images as one float64 array, also where there is none."""
    return np.concatenate([np.empty((0, *shape)), *arrays])


def _extents(keypoints: np.ndarray) -> np.ndarray:
    """Areas [P] of the smallest boxes around keypoints [P, K, 3], whatever their scores."""
    return np.ptp(keypoints[..., :2].astype(np.float64), axis=1).prod(1)


def _ranks(image: np.ndarray, present: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Place [Q, D] of each detection in its image, per part; -1 where it does not count.

    Args:
        image: [D], never falling.
        present: [D, K] bool, whether the keypoint has a score above 0.
        skeleton: whose Q parts are meant.
    """
    counts = np.stack([present[:, at].any(1) for at in skeleton.parts.values()])  # [Q, D]
    before: np.ndarray = np.cumsum(counts, 1) - counts
    first = np.searchsorted(image, image)  # [D] where the detection's image begins
    ranks: np.ndarray = before - before[:, first]
    return np.where(counts & (ranks < MAX_DETECTIONS), ranks, -1)
