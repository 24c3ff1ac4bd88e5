"""This file says what is wrong with the keypoints of those who were found.

It is the analysis of Ruggero Ronchi & Perona 2017, "Benchmarking and Error Diagnosis in
Multi-Instance Pose Estimation", and follows the program that its authors published.
"""

import math
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.detections import Detections
from tagpose.evaluation.oks import spreads
from tagpose.evaluation.truth import Truth
from tagpose.report.matches import Matches
from tagpose.skeleton import Skeleton

# Similarity of a keypoint: the summand of OKS. People who label differ by less than the first.
GOOD: Final = 0.85
NEAR: Final = 0.5


class Kind(IntEnum):
    """What is wrong with a keypoint, by the place that it is most similar to."""

    GOOD = 0  # its own, as near as people label it
    JITTER = 1  # its own, but only near it
    INVERSION = 2  # near that of its mirror keypoint on the same person
    SWAP = 3  # near that of the same keypoint, or of its mirror keypoint, on somebody else
    MISS = 4  # near none of them


class Places(NamedTuple):
    """Where the keypoints of P people of an image are, and those of their mirror keypoints."""

    points: np.ndarray  # [2, 2P, K] x, y in image pixels
    spread: np.ndarray  # [2P, K] 2 s^2 k^2 in square image pixels; 0 where nothing is labelled


def keypoint_kinds(
    truth: Truth, found: Detections, matches: Matches, skeleton: Skeleton
) -> np.ndarray:
    """The kind of each keypoint of those who were found.

    Args:
        truth: of T people.
        found: D detections.
        matches: F of them, each with its person.
        skeleton: with K keypoints.

    Returns:
        [F, K] int8 of `Kind`, -1 where the truth has no label.
    """
    kinds = np.full((len(matches.person), skeleton.size), -1, np.int8)
    for these, there in _images(truth, matches):
        places = _places(truth, there, skeleton)
        away = _distances(found.keypoints[matches.detection[these]], places)
        kinds[these] = _kinds(away, matches.person[these] - there.start)
    kinds[truth.keypoints[matches.person, :, 2] <= 0] = -1
    return kinds


def tally(kinds: np.ndarray, skeleton: Skeleton) -> Mapping[str, np.ndarray]:
    """How many keypoints of each part are of each `Kind`: [5] int64 by part."""
    return {
        part: np.bincount(kinds[:, at][kinds[:, at] >= 0], minlength=len(Kind))
        for part, at in skeleton.parts.items()
    }


def has_mirror_pairs(part: str, skeleton: Skeleton) -> bool:
    """Whether a keypoint of the part can be taken for its mirror keypoint."""
    at = skeleton.parts[part]
    return skeleton.mirror[at] != tuple(range(at.start, at.stop))


def _images(truth: Truth, matches: Matches) -> Iterator[tuple[slice, slice]]:
    """The matches of each image that has any, and its people."""
    images = np.arange(len(truth.image_ids) + 1)
    matched = np.searchsorted(truth.image[matches.person], images).tolist()
    people = np.searchsorted(truth.image, images).tolist()
    for image in np.unique(truth.image[matches.person]).tolist():
        yield slice(*matched[image : image + 2]), slice(*people[image : image + 2])


def _places(truth: Truth, which: slice, skeleton: Skeleton) -> Places:
    """The places in an image whose people those are."""
    keypoints = truth.keypoints[which]
    both = np.concatenate([keypoints, keypoints[:, skeleton.mirror]])  # [2P, K, 3]
    # a place has the sigma of the keypoint that is there; in a face those of a pair differ
    own = spreads(truth.areas[which], skeleton)
    spread = np.concatenate([own, own[:, skeleton.mirror]])
    return Places(np.moveaxis(both[..., :2], 2, 0), np.where(both[..., 2] > 0, spread, 0.0))


def _distances(found: np.ndarray, places: Places) -> np.ndarray:
    """How far detections [F, K, 3] are from the places: [F, 2P, K], minus the log of similarity."""
    away = np.zeros((len(found), *places.spread.shape))
    for axis in range(2):
        away += (found[:, None, :, axis].astype(np.float64) - places.points[axis]) ** 2
    far = np.full_like(away, np.inf)
    return np.divide(away, places.spread, out=far, where=places.spread > 0)


def _kinds(away: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Kinds [F, K] by distances [F, 2P, K] to places and the number [F] of the own person."""
    rows, people = np.arange(len(own)), away.shape[1] // 2
    best = away.min(1)
    itself, mirrored = away[rows, own], away[rows, people + own]  # [F, K]
    close = np.where(best <= -math.log(GOOD), Kind.GOOD, Kind.JITTER)
    other = np.where(mirrored == best, Kind.INVERSION, Kind.SWAP)
    # a keypoint in the middle is its own mirror keypoint: of equal places its own comes first
    near = np.where(itself == best, close, other)
    return np.where(best <= -math.log(NEAR), near, Kind.MISS)
