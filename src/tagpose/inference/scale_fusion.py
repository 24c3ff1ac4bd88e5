"""This file merges the people of several scales, each person where its size is a usual one."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tagpose.evaluation.oks import oks_variances
from tagpose.inference.results import keypoint_boxes
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

# Of the side that a network learned at: people up to that size are seen better enlarged, larger
# ones better reduced (drawn people, docs/accuracy.md).
TYPICAL_PERSON_SIZE: Final = 0.5
_MIN_OKS: Final = 0.5  # object keypoint similarity from which on two are the same person


def fuse_scales_by_size(
    views: Sequence[Poses], scales: Sequence[float], skeleton: Skeleton, typical_size: float
) -> Poses:
    """The people of scale 1, in whose keypoints other scales have a say that suit their size.

    An enlargement suits people who are no larger than usual in it, a reduction those who are no
    smaller. Where it finds somebody alike, places are averaged by the keypoints' scores, and so are
    the scores. (Singh 2018 trains and tests on sizes in a like manner.)

    Args:
        views: of one image, one per scale, each with its own people, keypoints in image pixels.
        scales: of the views; 1 is among them.
        skeleton: of the people.
        typical_size: size of a person at scale 1, in image pixels: the root of the area of its body's box.

    Returns:
        As many people as at scale 1, by falling score.
    """
    own = views[list(scales).index(1)]
    weights = own.keypoints[..., 2].astype(np.float64)
    sums = weights[..., None] * own.keypoints[..., :2]
    scores, counts = own.scores.astype(np.float64), np.ones(len(own.scores))
    sizes = _body_sizes(own, skeleton)
    for scale, people in zip(scales, views, strict=True):
        if scale == 1 or not len(people.scores) or not len(own.scores):
            continue
        suits = scale * sizes <= typical_size if scale > 1 else scale * sizes >= typical_size
        oks = _pairwise_oks(own, people, sizes, skeleton)  # [P, Q]
        # of several the one that is most alike and sure
        match = np.where(oks > _MIN_OKS, oks * people.scores, -1).argmax(1)
        here = np.flatnonzero(suits & (oks[np.arange(len(match)), match] > _MIN_OKS))
        seen = people.keypoints[match[here]].astype(np.float64)
        weights[here] += seen[..., 2]
        sums[here] += seen[..., 2:] * seen[..., :2]
        scores[here] += people.scores[match[here]]
        counts[here] += 1
    places = sums / np.maximum(weights, np.finfo(np.float64).tiny)[..., None]
    merged = np.concatenate([places, (weights / counts[:, None])[..., None]], -1)
    best = np.argsort(-scores / counts, kind="stable")
    return Poses(*(each[best].astype(np.float32) for each in (merged, scores / counts)))


def _body_sizes(people: Poses, skeleton: Skeleton) -> np.ndarray:
    """The root of the area of the box around each person's body [P], in image pixels."""
    body = people.keypoints[:, _body_keypoints(skeleton)]
    sizes: np.ndarray = np.sqrt(keypoint_boxes(body, body[..., 2] > 0)[:, 2:].prod(1))
    return sizes


def _pairwise_oks(own: Poses, others: Poses, sizes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Object keypoint similarity [P, Q] of the bodies of P and Q people."""
    body = _body_keypoints(skeleton)
    here, there = own.keypoints[:, None, body], others.keypoints[None, :, body]
    squared_distance = np.square(here[..., :2] - there[..., :2]).sum(-1)  # [P, Q, N]
    spread = oks_variances(np.square(sizes), skeleton)[:, None, body]
    both = (here[..., 2] > 0) & (there[..., 2] > 0)
    similarity = np.exp(-squared_distance / spread) * both
    oks: np.ndarray = similarity.sum(-1) / np.maximum(both.sum(-1), 1)
    return oks


def _body_keypoints(skeleton: Skeleton) -> slice:
    """The keypoints of the first limb, of people with several the body."""
    return next(iter(skeleton.disjoint_parts.values()))
