"""Object keypoint similarity (OKS) of pairs of detections and ground-truth people, in all parts.

OKS (COCO keypoint evaluation) is the mean over labeled keypoints of exp(-d^2 / (2 s^2 k^2)), with
d the distance, s^2 the person's area and k twice the keypoint's sigma.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.detections import Detections
from tagpose.evaluation.ground_truth import GroundTruth, labeled_parts
from tagpose.skeletons.skeleton import Skeleton

# Lower exponents are slow and have denormal powers; exp(-700) = 1e-304 vanishes in every sum.
_MIN_EXPONENT: Final = -700.0


class ZeroDistanceRegions(NamedTuple):
    """Region in which a keypoint of each of P people has distance 0: a point or a rectangle."""

    low: np.ndarray  # [2, P, K] left, top in image pixels
    high: np.ndarray  # [2, P, K] right, bottom in image pixels
    variance: np.ndarray  # [P, K] 2 s^2 k^2 in square image pixels


class Pairs(NamedTuple):
    """M pairs of a detection and a ground-truth person of the same image."""

    detection: np.ndarray  # [M] int64, non-decreasing
    person: np.ndarray  # [M] int64


def oks_variances(areas: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return the divisor of squared distances in OKS, 2 s^2 k^2 [P, K], in square image pixels.

    Args:
        areas: [P] areas s^2 of people in square image pixels; an area of 0 counts as almost 0, as
            in the official evaluation.
        skeleton: skeleton with K keypoints.
    """
    squared_falloff = (2 * np.array(skeleton.sigmas)) ** 2
    variance: np.ndarray = 2 * squared_falloff * (areas[:, None] + np.spacing(1))
    return variance


def compute_oks(
    detections: Detections, ground_truth: GroundTruth, pairs: Pairs, skeleton: Skeleton
) -> np.ndarray:
    """Compute the OKS of every pair in every part.

    A person's part without any label is compared with the person's box, extended by its own size
    on each side, and all keypoints of the part count. The official evaluation determines in this
    way which detections to ignore.

    Args:
        detections: D detections.
        ground_truth: T people.
        pairs: all M pairs of both, from `pair_by_image`.
        skeleton: skeleton with K keypoints and Q parts.

    Returns:
        [M, Q] float64.
    """
    starts = [at.start for at in skeleton.disjoint_parts.values()]
    part_weights = _part_weights(ground_truth, skeleton)  # [T, Q, parts]
    counted = _counted_keypoints(ground_truth, skeleton)  # [T, K]
    counts = np.einsum("tql,tl->tq", part_weights, np.add.reduceat(counted * 1.0, starts, axis=1))
    result = np.empty((len(pairs.person), len(skeleton.parts)))
    for pair_slice, detection_slice, person_slice in _slices_by_image(
        detections, ground_truth, pairs
    ):
        regions = _zero_distance_regions(ground_truth, counted, person_slice, skeleton)
        sums = np.add.reduceat(
            _keypoint_similarities(detections.keypoints[detection_slice], regions), starts, axis=2
        )
        oks = np.einsum("pql,dpl->dpq", part_weights[person_slice], sums) / counts[person_slice]
        result[pair_slice] = oks.reshape(-1, len(skeleton.parts))
    return result


def pair_by_image(detections: np.ndarray, ground_truth: np.ndarray) -> Pairs:
    """Pair every detection with every person of its image.

    Args:
        detections: [D] image of each detection, non-decreasing.
        ground_truth: [T] image of each person, non-decreasing.
    """
    first = np.searchsorted(ground_truth, detections)  # [D]
    counts = np.searchsorted(ground_truth, detections, side="right") - first
    ends = np.cumsum(counts)
    detection = np.repeat(np.arange(len(detections)), counts)
    return Pairs(detection, np.arange(len(detection)) + np.repeat(first - ends + counts, counts))


def _slices_by_image(
    detections: Detections, ground_truth: GroundTruth, pairs: Pairs
) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the slices of pairs, detections and people of each image with pairs.

    Slices avoid gathering pair by pair, and the results for one image fit into the cache.
    """
    images = np.arange(len(ground_truth.image_ids) + 1)
    detection_starts, person_starts = (
        np.searchsorted(image, images) for image in (detections.image, ground_truth.image)
    )
    pair_starts = np.searchsorted(pairs.detection, detection_starts)
    starts = map(np.ndarray.tolist, (pair_starts, detection_starts, person_starts))
    slices = zip(*(map(slice, start, start[1:]) for start in starts), strict=True)
    return (of_image for of_image in slices if of_image[0].start < of_image[0].stop)


def _keypoint_similarities(detections: np.ndarray, regions: ZeroDistanceRegions) -> np.ndarray:
    """Return the summands [D, P, K] of OKS of detections [D, K, 3]; 0 for ignored keypoints."""
    exponents = np.zeros((len(detections), *regions.variance.shape))
    for axis in range(2):
        position = detections[:, None, :, axis].astype(np.float64)
        offset = np.maximum(position, regions.low[axis])
        np.minimum(offset, regions.high[axis], out=offset)
        offset -= position
        offset *= offset
        exponents -= offset
    exponents /= regions.variance
    np.maximum(exponents, _MIN_EXPONENT, out=exponents)
    return np.exp(exponents, out=exponents)


def _counted_keypoints(ground_truth: GroundTruth, skeleton: Skeleton) -> np.ndarray:
    """Return the keypoints [T, K] that count: labeled ones, and all of a part without labels."""
    labeled = ground_truth.keypoints[..., 2] > 0
    unlabeled_parts = [
        np.repeat(~labeled[:, at].any(1, keepdims=True), at.stop - at.start, 1)
        for at in skeleton.disjoint_parts.values()
    ]
    return labeled | np.concatenate(unlabeled_parts, 1)


def _zero_distance_regions(
    ground_truth: GroundTruth, counted: np.ndarray, people: slice, skeleton: Skeleton
) -> ZeroDistanceRegions:
    """Return points for labeled keypoints, extended boxes for counted ones, infinity for others."""
    keypoints, boxes = ground_truth.keypoints[people], ground_truth.boxes[people]
    xy = np.moveaxis(keypoints[..., :2], 2, 0)  # [2, P, K]
    labeled = keypoints[..., 2] > 0
    corner, size = boxes[:, :2].T[..., None], boxes[:, 2:].T[..., None]  # [2, P, 1]
    low = np.where(labeled, xy, np.where(counted[people], corner - size, np.inf))
    high = np.where(labeled, xy, np.where(counted[people], corner + 2 * size, np.inf))
    return ZeroDistanceRegions(low, high, oks_variances(ground_truth.areas[people], skeleton))


def _part_weights(ground_truth: GroundTruth, skeleton: Skeleton) -> np.ndarray:
    """Return which disjoint parts count in an evaluated part, [T, Q, parts] as 0 and 1.

    A disjoint part counts in itself. In the whole body, parts without labels count only if no part
    has any.
    """
    labeled = labeled_parts(ground_truth, skeleton)
    parts = labeled[:, : len(skeleton.disjoint_parts)]
    itself = np.broadcast_to(np.eye(parts.shape[1]), (len(parts), *2 * parts.shape[1:]))
    whole = parts | ~parts.any(1, keepdims=True)
    return np.concatenate([itself, whole[:, None]], 1)[:, : labeled.shape[1]]
