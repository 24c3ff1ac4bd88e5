"""This file computes object keypoint similarity, how well two people agree, for all parts at once.

OKS (COCO keypoint evaluation) is the mean over labelled keypoints of exp(-d^2 / (2 s^2 k^2)), with
d the distance, s^2 the person's area and k twice the keypoint's sigma.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.detections import Detections
from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton

# Exponents below would be slow and their powers denormal; its own, 1e-304, is lost in every sum.
_LEAST: Final = -700.0


class Pairs(NamedTuple):
    """M pairs of a detection and a person of the same image."""

    detection: np.ndarray  # [M] int64, never falling
    person: np.ndarray  # [M] int64


class Places(NamedTuple):
    """Where a keypoint of each of P people has distance 0: a point, or a rectangle."""

    low: np.ndarray  # [2, P, K] left, top in image pixels
    high: np.ndarray  # [2, P, K] right, bottom in image pixels
    spread: np.ndarray  # [P, K] 2 s^2 k^2 in square image pixels


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


def spreads(areas: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """What squared distances are divided by in OKS: 2 s^2 k^2 [P, K] in square image pixels.

    Args:
        areas: [P] of people, s^2, in square image pixels; officially, one of 0 is almost 0.
        skeleton: with K keypoints.
    """
    variance = (2 * np.array(skeleton.sigmas)) ** 2
    spread: np.ndarray = 2 * variance * (areas[:, None] + np.spacing(1))
    return spread


def similarities(found: Detections, truth: Truth, pairs: Pairs, skeleton: Skeleton) -> np.ndarray:
    """OKS of every pair in every part.

    A part of a person without any label is held against the person's box, extended by the box on
    each side, and all of its keypoints count: so the official evaluation finds out which
    detections to ignore.

    Args:
        found: D detections.
        truth: of T people.
        pairs: all M of both, as `pair_up` has them.
        skeleton: with K keypoints and Q parts.

    Returns:
        [M, Q] float64.
    """
    starts = [at.start for at in skeleton.limbs.values()]
    shares = _shares(truth, skeleton)  # [T, Q, limbs]
    counted = _counted(truth, skeleton)  # [T, K]
    counts = np.einsum("tql,tl->tq", shares, np.add.reduceat(counted * 1.0, starts, axis=1))
    result = np.empty((len(pairs.person), len(skeleton.parts)))
    for rows, seen, there in _images(found, truth, pairs):
        places = _places(truth, counted, there, skeleton)
        sums = np.add.reduceat(_closeness(found.keypoints[seen], places), starts, axis=2)
        oks = np.einsum("pql,dpl->dpq", shares[there], sums) / counts[there]
        result[rows] = oks.reshape(-1, len(skeleton.parts))
    return result


def _images(found: Detections, truth: Truth, pairs: Pairs) -> Iterator[tuple[slice, slice, slice]]:
    """The pairs of each image that has any, its detections and its people.

    So nothing has to be gathered pair by pair, and what is computed stays in the cache.
    """
    images = np.arange(len(truth.image_ids) + 1)
    seen, there = (np.searchsorted(image, images) for image in (found.image, truth.image))
    ends = (np.searchsorted(pairs.detection, seen), seen, there)
    slices = (map(slice, end, end[1:]) for end in map(np.ndarray.tolist, ends))
    return (of_one for of_one in zip(*slices, strict=True) if of_one[0].start < of_one[0].stop)


def _closeness(found: np.ndarray, places: Places) -> np.ndarray:
    """The summands [D, P, K] of OKS of detections [D, K, 3]; nothing where none counts."""
    exponents = np.zeros((len(found), *places.spread.shape))
    for axis in range(2):
        at = found[:, None, :, axis].astype(np.float64)
        away = np.maximum(at, places.low[axis])
        np.minimum(away, places.high[axis], out=away)
        away -= at
        away *= away
        exponents -= away
    exponents /= places.spread
    np.maximum(exponents, _LEAST, out=exponents)
    return np.exp(exponents, out=exponents)


def _counted(truth: Truth, skeleton: Skeleton) -> np.ndarray:
    """Keypoints [T, K] that count: the labelled ones, or a whole limb without any."""
    labelled = truth.keypoints[..., 2] > 0
    limbs = skeleton.limbs.values()
    without = [
        np.repeat(~labelled[:, at].any(1, keepdims=True), at.stop - at.start, 1) for at in limbs
    ]
    return labelled | np.concatenate(without, 1)


def _places(truth: Truth, counted: np.ndarray, which: slice, skeleton: Skeleton) -> Places:
    """Labelled keypoints are points, others the extended box; what does not count is nowhere."""
    keypoints, boxes, counted = truth.keypoints[which], truth.boxes[which], counted[which]
    xy = np.moveaxis(keypoints[..., :2], 2, 0)  # [2, P, K]
    labelled = keypoints[..., 2] > 0
    corner, size = boxes[:, :2].T[..., None], boxes[:, 2:].T[..., None]  # [2, P, 1]
    low = np.where(labelled, xy, np.where(counted, corner - size, np.inf))
    high = np.where(labelled, xy, np.where(counted, corner + 2 * size, np.inf))
    return Places(low, high, spreads(truth.areas[which], skeleton))


def _shares(truth: Truth, skeleton: Skeleton) -> np.ndarray:
    """Whether a limb's keypoints count in a part, [T, Q, limbs] as 0 and 1.

    A limb counts in itself; in the whole, limbs without labels count only if no limb has any.
    """
    labelled = labelled_parts(truth, skeleton)
    limbs = labelled[:, : len(skeleton.limbs)]
    itself = np.broadcast_to(np.eye(limbs.shape[1]), (len(limbs), *2 * limbs.shape[1:]))
    whole = limbs | ~limbs.any(1, keepdims=True)
    return np.concatenate([itself, whole[:, None]], 1)[:, : labelled.shape[1]]
