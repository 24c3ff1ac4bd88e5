"""This file lays the people found in all images into columns, with their ranks in each part."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.claims import Claims
from tagpose.evaluation.refusal import check_people
from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton
from tagpose.structures import People

MAX_DETECTIONS: Final = 20  # an image, the best by score (COCO keypoint evaluation)


class Detections(NamedTuple):
    """D people found, image by image."""

    image: np.ndarray  # [D] int64 places in the truth's image_ids
    keypoints: np.ndarray  # [D, K, 3] x, y in image pixels, score; in their own precision
    scores: np.ndarray  # [Q, D] float64, what each part ranks them by
    areas: np.ndarray  # [D] float64, the same for every part, square image pixels
    ranks: np.ndarray  # [Q, D] int64 place in its image among those that count in part q, or -1


def lay_out(
    found: Mapping[int, People], claims: Claims, truth: Truth, skeleton: Skeleton
) -> Detections:
    """Columns of the people that count in at least one part.

    A person counts in a part with a score above 0 somewhere in it, among the best of the image.
    Arguments are those of `part_scores`.

    Raises:
        ValueError: the truth has no such image, or people are malformed or not finite.
    """
    ids = _known(found, truth, skeleton)
    counts = [len(found[image_id].scores) for image_id in ids]
    image = np.repeat(np.searchsorted(truth.image_ids, ids), counts)
    keypoints = _join([found[image_id].keypoints for image_id in ids], (skeleton.size, 3))
    each = _join([found[image_id].scores for image_id in ids], ()).astype(np.float64)
    scores = np.repeat(each[:, None], len(skeleton.parts), 1)  # [D, Q]
    # of all of them, whatever their scores, as in the official evaluation
    main = keypoints[:, skeleton.fields["keypoints"], :2].swapaxes(1, 2)  # [D, 2, 17] of the body
    areas = np.ptp(main.astype(np.float64, order="C"), 2).prod(1)
    for image_id, end, count in zip(ids, np.cumsum(counts).tolist(), counts, strict=True):
        rows = slice(end - count, end)
        scores[rows] = claims.scores.get(image_id, scores[rows])
        areas[rows] = claims.areas.get(image_id, areas[rows])
    ranks = _ranks(image, scores.T, keypoints[..., 2] > 0, skeleton)
    keep = (ranks >= 0).any(0)
    return Detections(image[keep], keypoints[keep], scores[keep].T, areas[keep], ranks[:, keep])


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
    """Arrays [P, *shape] of all images as one, in their own precision; also where there is none."""
    return np.concatenate([np.empty((0, *shape), np.float32), *arrays])


def _ranks(
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
