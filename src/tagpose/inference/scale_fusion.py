"""Scale fusion: merge the poses of several test-time scales, depending on each person's size."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tagpose.evaluation.oks import oks_variances
from tagpose.geometry import keypoint_boxes
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

# In units of the input size of the training: up to that size people are predicted better in an
# enlarged image, larger ones better in a reduced one (synthetic people, docs/accuracy.md).
TYPICAL_PERSON_SIZE: Final = 0.5
_MIN_OKS: Final = 0.5  # object keypoint similarity above which two poses are the same person


def fuse_scales_by_size(
    views: Sequence[Poses], scales: Sequence[float], skeleton: Skeleton, typical_size: float
) -> Poses:
    """Refine the poses of scale 1 with those of other scales that suit a person's size.

    An enlarged image suits people that are at most of typical size in it, a reduced image those
    that are at least of typical size. If it has a matching person, keypoint positions are averaged
    with the keypoint scores as weights, and scores are averaged. (Singh 2018 selects people by size
    in a similar way, in training and testing.)

    Args:
        views: predictions for one image at each scale, keypoints in image pixels.
        scales: scales of the views, including 1.
        skeleton: skeleton of the poses.
        typical_size: typical size of a person at scale 1: square root of the area of the body's
            box, in image pixels.

    Returns:
        As many people as at scale 1, by descending score.
    """
    base = views[list(scales).index(1)]
    weights = base.keypoints[..., 2].astype(np.float64)
    sums = weights[..., None] * base.keypoints[..., :2]
    scores, counts = base.scores.astype(np.float64), np.ones(len(base.scores))
    sizes = _body_sizes_for_fusion(base, skeleton)
    for scale, view in zip(scales, views, strict=True):
        if scale == 1 or not len(view.scores) or not len(base.scores):
            continue
        suits = scale * sizes <= typical_size if scale > 1 else scale * sizes >= typical_size
        oks = _pairwise_oks(base, view, sizes, skeleton)  # [P, Q]
        # of several candidates the one of highest OKS times score
        match = np.where(oks > _MIN_OKS, oks * view.scores, -1).argmax(1)
        matched = np.flatnonzero(suits & (oks[np.arange(len(match)), match] > _MIN_OKS))
        keypoints = view.keypoints[match[matched]].astype(np.float64)
        weights[matched] += keypoints[..., 2]
        sums[matched] += keypoints[..., 2:] * keypoints[..., :2]
        scores[matched] += view.scores[match[matched]]
        counts[matched] += 1
    xy = sums / np.maximum(weights, np.finfo(np.float64).tiny)[..., None]
    fused = np.concatenate([xy, (weights / counts[:, None])[..., None]], -1)
    order = np.argsort(-scores / counts, kind="stable")
    return Poses(fused[order].astype(np.float32), (scores / counts)[order].astype(np.float32))


def _body_sizes_for_fusion(people: Poses, skeleton: Skeleton) -> np.ndarray:
    """Return the square root [P] of the area of each body's box, in image pixels."""
    body = people.keypoints[:, _body_keypoints(skeleton)]
    sizes: np.ndarray = np.sqrt(keypoint_boxes(body, body[..., 2] > 0)[:, 2:].prod(1))
    return sizes


def _pairwise_oks(base: Poses, view: Poses, sizes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return the object keypoint similarity [P, Q] of the bodies of P and Q people."""
    body = _body_keypoints(skeleton)
    first, second = base.keypoints[:, None, body], view.keypoints[None, :, body]
    squared_distance = np.square(first[..., :2] - second[..., :2]).sum(-1)  # [P, Q, N]
    variance = oks_variances(np.square(sizes), skeleton)[:, None, body]
    both = (first[..., 2] > 0) & (second[..., 2] > 0)
    similarity = np.exp(-squared_distance / variance) * both
    oks: np.ndarray = similarity.sum(-1) / np.maximum(both.sum(-1), 1)
    return oks


def _body_keypoints(skeleton: Skeleton) -> slice:
    """Return the keypoints of the first disjoint part, which is the body in skeletons of people."""
    return next(iter(skeleton.disjoint_parts.values()))
