"""This file merges the people of several scales, each person where its size is a usual one."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tagpose.evaluation.oks import spreads
from tagpose.inference.found import boxes_around
from tagpose.skeleton import Skeleton
from tagpose.structures import People

# Of the side that a network learned at: people up to that size are seen better enlarged, larger
# ones better reduced (drawn people, docs/accuracy.md).
USUAL: Final = 0.5
_ALIKE: Final = 0.5  # object keypoint similarity from which on two are the same person


def merge_by_size(
    views: Sequence[People], scales: Sequence[float], skeleton: Skeleton, usual: float
) -> People:
    """The people of scale 1, in whose keypoints other scales have a say that suit their size.

    An enlargement suits people who are no larger than usual in it, a reduction those who are no
    smaller. Where it finds somebody alike, places are averaged by the keypoints' scores, and so are
    the scores. (Singh 2018 trains and tests on sizes in a like manner.)

    Args:
        views: of one image, one per scale, each with its own people, keypoints in image pixels.
        scales: of the views; 1 is among them.
        skeleton: of the people.
        usual: size of a person at scale 1, in image pixels: the root of the area of its body's box.

    Returns:
        As many people as at scale 1, by falling score.
    """
    own = views[list(scales).index(1)]
    weights = own.keypoints[..., 2].astype(np.float64)
    sums = weights[..., None] * own.keypoints[..., :2]
    scores, times = own.scores.astype(np.float64), np.ones(len(own.scores))
    sizes = _sizes(own, skeleton)
    for scale, people in zip(scales, views, strict=True):
        if scale == 1 or not len(people.scores) or not len(own.scores):
            continue
        suits = scale * sizes <= usual if scale > 1 else scale * sizes >= usual
        likeness = _likeness(own, people, sizes, skeleton)  # [P, Q]
        # of several the one that is most alike and sure
        twin = np.where(likeness > _ALIKE, likeness * people.scores, -1).argmax(1)
        here = np.flatnonzero(suits & (likeness[np.arange(len(twin)), twin] > _ALIKE))
        seen = people.keypoints[twin[here]].astype(np.float64)
        weights[here] += seen[..., 2]
        sums[here] += seen[..., 2:] * seen[..., :2]
        scores[here] += people.scores[twin[here]]
        times[here] += 1
    places = sums / np.maximum(weights, np.finfo(np.float64).tiny)[..., None]
    merged = np.concatenate([places, (weights / times[:, None])[..., None]], -1)
    best = np.argsort(-scores / times, kind="stable")
    return People(*(each[best].astype(np.float32) for each in (merged, scores / times)))


def _sizes(people: People, skeleton: Skeleton) -> np.ndarray:
    """The root of the area of the box around each person's body [P], in image pixels."""
    body = people.keypoints[:, _body(skeleton)]
    sizes: np.ndarray = np.sqrt(boxes_around(body, body[..., 2] > 0)[:, 2:].prod(1))
    return sizes


def _likeness(own: People, others: People, sizes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Object keypoint similarity [P, Q] of the bodies of P and Q people."""
    body = _body(skeleton)
    here, there = own.keypoints[:, None, body], others.keypoints[None, :, body]
    apart = np.square(here[..., :2] - there[..., :2]).sum(-1)  # [P, Q, N]
    spread = spreads(np.square(sizes), skeleton)[:, None, body]
    both = (here[..., 2] > 0) & (there[..., 2] > 0)
    alike = np.exp(-apart / spread) * both
    likeness: np.ndarray = alike.sum(-1) / np.maximum(both.sum(-1), 1)
    return likeness


def _body(skeleton: Skeleton) -> slice:
    """The keypoints of the first limb, of people with several the body."""
    return next(iter(skeleton.limbs.values()))
