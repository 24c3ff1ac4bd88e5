"""This file computes object keypoint similarity, how well two people agree, for all parts at once.

OKS (COCO keypoint evaluation) is the mean over labelled keypoints of exp(-d^2 / (2 s^2 k^2)), with
d the distance, s^2 the person's area and k twice the keypoint's sigma.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.detections import Detections
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.skeletons.skeleton import Skeleton

# Exponents below would be slow and their powers denormal; its own, 1e-304, is lost in every sum.
_MIN_EXPONENT: Final = -700.0


class Pairs(NamedTuple):
    """M pairs of a detection and a person of the same image."""

    detection: np.ndarray  # [M] int64, never falling
    person: np.ndarray  # [M] int64


class ZeroDistanceRegions(NamedTuple):
    """Where a keypoint of each of P people has distance 0: a point, or a rectangle."""

    low: np.ndarray  # [2, P, K] left, top in image pixels
    high: np.ndarray  # [2, P, K] right, bottom in image pixels
    variance: np.ndarray  # [P, K] 2 s^2 k^2 in square image pixels


def pair_by_image(detections: np.ndarray, ground_truth: np.ndarray) -> Pairs:
    """Every detection with every person of its image.

    Args:
        detections: [D] image of each detection, never falling.
        ground_truth: [T] image of each person, never falling.
    """
    first = np.searchsorted(ground_truth, detections)  # [D]
    counts = np.searchsorted(ground_truth, detections, side="right") - first
    ends = np.cumsum(counts)
    detection = np.repeat(np.arange(len(detections)), counts)
    return Pairs(detection, np.arange(len(detection)) + np.repeat(first - ends + counts, counts))


def labeled_parts(ground_truth: GroundTruth, skeleton: Skeleton) -> np.ndarray:
    """Whether a person has a labelled keypoint in a part, [T, Q] bool."""
    labelled = ground_truth.keypoints[..., 2] > 0
    return np.stack([labelled[:, at].any(1) for at in skeleton.parts.values()], 1)


def oks_variances(areas: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """What squared distances are divided by in OKS: 2 s^2 k^2 [P, K] in square image pixels.

    Args:
        areas: [P] of people, s^2, in square image pixels; officially, one of 0 is almost 0.
        skeleton: with K keypoints.
    """
    squared_falloff = (2 * np.array(skeleton.sigmas)) ** 2
    variance: np.ndarray = 2 * squared_falloff * (areas[:, None] + np.spacing(1))
    return variance


def compute_oks(
    detections: Detections, ground_truth: GroundTruth, pairs: Pairs, skeleton: Skeleton
) -> np.ndarray:
    """OKS of every pair in every part.

    A part of a person without any label is held against the person's box, extended by the box on
    each side, and all of its keypoints count: so the official evaluation finds out which
    detections to ignore.

    Args:
        detections: D detections.
        ground_truth: of T people.
        pairs: all M of both, as `pair_by_image` has them.
        skeleton: with K keypoints and Q parts.

    Returns:
        [M, Q] float64.
    """
    starts = [at.start for at in skeleton.disjoint_parts.values()]
    part_weights = _part_weights(ground_truth, skeleton)  # [T, Q, parts]
    counted = _counted_keypoints(ground_truth, skeleton)  # [T, K]
    counts = np.einsum("tql,tl->tq", part_weights, np.add.reduceat(counted * 1.0, starts, axis=1))
    result = np.empty((len(pairs.person), len(skeleton.parts)))
    for rows, detection_slice, person_slice in _slices_by_image(detections, ground_truth, pairs):
        regions = _zero_distance_regions(ground_truth, counted, person_slice, skeleton)
        sums = np.add.reduceat(
            _keypoint_similarities(detections.keypoints[detection_slice], regions), starts, axis=2
        )
        oks = np.einsum("pql,dpl->dpq", part_weights[person_slice], sums) / counts[person_slice]
        result[rows] = oks.reshape(-1, len(skeleton.parts))
    return result


def _slices_by_image(
    detections: Detections, ground_truth: GroundTruth, pairs: Pairs
) -> Iterator[tuple[slice, slice, slice]]:
    """The pairs of each image that has any, its detections and its people.

    So nothing has to be gathered pair by pair, and what is computed stays in the cache.
    """
    images = np.arange(len(ground_truth.image_ids) + 1)
    detection_slice, person_slice = (
        np.searchsorted(image, images) for image in (detections.image, ground_truth.image)
    )
    ends = (np.searchsorted(pairs.detection, detection_slice), detection_slice, person_slice)
    slices = (map(slice, end, end[1:]) for end in map(np.ndarray.tolist, ends))
    return (of_one for of_one in zip(*slices, strict=True) if of_one[0].start < of_one[0].stop)


def _keypoint_similarities(detections: np.ndarray, regions: ZeroDistanceRegions) -> np.ndarray:
    """The summands [D, P, K] of OKS of detections [D, K, 3]; nothing where none counts."""
    exponents = np.zeros((len(detections), *regions.variance.shape))
    for axis in range(2):
        at = detections[:, None, :, axis].astype(np.float64)
        offset = np.maximum(at, regions.low[axis])
        np.minimum(offset, regions.high[axis], out=offset)
        offset -= at
        offset *= offset
        exponents -= offset
    exponents /= regions.variance
    np.maximum(exponents, _MIN_EXPONENT, out=exponents)
    return np.exp(exponents, out=exponents)


def _counted_keypoints(ground_truth: GroundTruth, skeleton: Skeleton) -> np.ndarray:
    """Keypoints [T, K] that count: the labelled ones, or a whole part without any."""
    labelled = ground_truth.keypoints[..., 2] > 0
    parts = skeleton.disjoint_parts.values()
    without = [
        np.repeat(~labelled[:, at].any(1, keepdims=True), at.stop - at.start, 1) for at in parts
    ]
    return labelled | np.concatenate(without, 1)


def _zero_distance_regions(
    ground_truth: GroundTruth, counted: np.ndarray, which: slice, skeleton: Skeleton
) -> ZeroDistanceRegions:
    """Labelled keypoints are points, others the extended box; what does not count is nowhere."""
    keypoints, boxes, counted = (
        ground_truth.keypoints[which],
        ground_truth.boxes[which],
        counted[which],
    )
    xy = np.moveaxis(keypoints[..., :2], 2, 0)  # [2, P, K]
    labelled = keypoints[..., 2] > 0
    corner, size = boxes[:, :2].T[..., None], boxes[:, 2:].T[..., None]  # [2, P, 1]
    low = np.where(labelled, xy, np.where(counted, corner - size, np.inf))
    high = np.where(labelled, xy, np.where(counted, corner + 2 * size, np.inf))
    return ZeroDistanceRegions(low, high, oks_variances(ground_truth.areas[which], skeleton))


def _part_weights(ground_truth: GroundTruth, skeleton: Skeleton) -> np.ndarray:
    """Whether a part's keypoints count in a part, [T, Q, parts] as 0 and 1.

    A part counts in itself; in the whole, parts without labels count only if no part has any.
    """
    labelled = labeled_parts(ground_truth, skeleton)
    parts = labelled[:, : len(skeleton.disjoint_parts)]
    itself = np.broadcast_to(np.eye(parts.shape[1]), (len(parts), *2 * parts.shape[1:]))
    whole = parts | ~parts.any(1, keepdims=True)
    return np.concatenate([itself, whole[:, None]], 1)[:, : labelled.shape[1]]
