"""This file computes object keypoint similarity, how well two people agree, for all parts at once.

OKS (COCO keypoint evaluation) is the mean over labelled keypoints of exp(-d^2 / (2 s^2 k^2)), with
d the distance, s^2 the person's area and k twice the keypoint's sigma.
"""

from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton

_CHUNK: Final = 512  # pairs at a time: the temporaries stay in the cache


class Pairs(NamedTuple):
    """M pairs of a detection and a person of the same image."""

    detection: np.ndarray  # [M] int64, never falling
    person: np.ndarray  # [M] int64


class Places(NamedTuple):
    """Where a keypoint of each of T people has distance 0: a point, or a rectangle."""

    low: np.ndarray  # [2, T, K] left, top in image pixels
    high: np.ndarray  # [2, T, K] right, bottom in image pixels
    spread: np.ndarray  # [T, K] 2 s^2 k^2 in square image pixels


def pair_up(found: np.ndarray, truth: np.ndarray) -> Pairs:
    """Every detection with every person of its image.

    Args:
        found: [D] image of each detection, never falling.
        truth: [T] image of each person, never falling.
    """
    first = np.searchsorted(truth, found)  # [D]
    counts = np.searchsorted(truth, found, side="right") - first
    ends = np.cumsum(counts)
    detection = np.repeat(np.arange(len(found)), counts)
    return Pairs(detection, np.arange(len(detection)) + np.repeat(first - ends + counts, counts))


def labelled_parts(truth: Truth, skeleton: Skeleton) -> np.ndarray:
    """Whether a person has a labelled keypoint in a part, [T, Q] bool."""
    labelled = truth.keypoints[..., 2] > 0
    return np.stack([labelled[:, at].any(1) for at in skeleton.parts.values()], 1)


def similarities(points: np.ndarray, truth: Truth, pairs: Pairs, skeleton: Skeleton) -> np.ndarray:
    """OKS of every pair in every part.

    A part of a person without any label is held against the person's box, extended by the box on
    each side, and all of its keypoints count: so the official evaluation finds out which
    detections to ignore.

    Args:
        points: [2, D, K] x, y of the detections in image pixels.
        truth: of T people.
        pairs: M of them.
        skeleton: with K keypoints and Q parts.

    Returns:
        [M, Q] float64.
    """
    starts = [at.start for at in skeleton.limbs.values()]
    shares = _shares(truth, skeleton)  # [T, Q, limbs]
    counted = _counted(truth, skeleton)  # [T, K]
    places = _places(truth, counted, skeleton)
    counts = np.einsum("tql,tl->tq", shares, np.add.reduceat(counted * 1.0, starts, axis=1))
    result = np.empty((len(pairs.person), len(skeleton.parts)))
    for at in range(0, len(result), _CHUNK):
        detection, person = (index[at : at + _CHUNK] for index in pairs)
        sums = np.add.reduceat(_closeness(points, places, detection, person), starts, axis=1)
        result[at : at + _CHUNK] = np.einsum("mql,ml->mq", shares[person], sums) / counts[person]
    return result


def _closeness(
    points: np.ndarray, places: Places, detection: np.ndarray, person: np.ndarray
) -> np.ndarray:
    """The summands [M, K] of OKS; 0 where a keypoint does not count."""
    at = points[:, detection]  # [2, M, K]
    at -= np.clip(at, places.low[:, person], places.high[:, person])
    np.square(at, out=at)
    return np.exp(-(at[0] + at[1]) / places.spread[person])


def _counted(truth: Truth, skeleton: Skeleton) -> np.ndarray:
    """Keypoints [T, K] that count: the labelled ones, or a whole limb without any."""
    labelled = truth.keypoints[..., 2] > 0
    limbs = skeleton.limbs.values()
    without = [
        np.repeat(~labelled[:, at].any(1, keepdims=True), at.stop - at.start, 1) for at in limbs
    ]
    return labelled | np.concatenate(without, 1)


def _places(truth: Truth, counted: np.ndarray, skeleton: Skeleton) -> Places:
    """Labelled keypoints are points, others the extended box; what does not count is nowhere."""
    xy = np.moveaxis(truth.keypoints[..., :2], 2, 0)  # [2, T, K]
    labelled = truth.keypoints[..., 2] > 0
    corner, size = truth.boxes[:, :2].T[..., None], truth.boxes[:, 2:].T[..., None]  # [2, T, 1]
    low = np.where(labelled, xy, np.where(counted, corner - size, np.inf))
    high = np.where(labelled, xy, np.where(counted, corner + 2 * size, np.inf))
    variance = (2 * np.array(skeleton.sigmas)) ** 2
    return Places(low, high, 2 * variance * (truth.areas[:, None] + np.spacing(1)))


def _shares(truth: Truth, skeleton: Skeleton) -> np.ndarray:
    """Whether a limb's keypoints count in a part, [T, Q, limbs] as 0 and 1.

    A limb counts in itself; in the whole, limbs without labels count only if no limb has any.
    """
    labelled = labelled_parts(truth, skeleton)
    limbs = labelled[:, : len(skeleton.limbs)]
    itself = np.broadcast_to(np.eye(limbs.shape[1]), (len(limbs), *2 * limbs.shape[1:]))
    whole = limbs | ~limbs.any(1, keepdims=True)
    return np.concatenate([itself, whole[:, None]], 1)[:, : labelled.shape[1]]
