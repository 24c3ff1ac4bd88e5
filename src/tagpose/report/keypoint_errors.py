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
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.oks import oks_variances
from tagpose.report.person_matches import PersonMatches
from tagpose.skeletons.skeleton import Skeleton

# MERGED: """This file says which images went wrong, and how much."""
# Similarity of a keypoint: the summand of OKS. People who label differ by less than the first.
GOOD_SIMILARITY: Final = 0.85
NEAR_SIMILARITY: Final = 0.5


class ErrorType(IntEnum):
    """What is wrong with a keypoint, by the place that it is most similar to."""

    GOOD = 0  # its own, as near as people label it
    JITTER = 1  # its own, but only near it
    INVERSION = 2  # near that of its left/right counterpart on the same person
    SWAP = 3  # near that of the same keypoint, or of its left/right counterpart, on somebody else
    MISS = 4  # near none of them


class MatchTargets(NamedTuple):
    """Where the keypoints of P people of an image are, and those of their mirror keypoints."""

    points: np.ndarray  # [2, 2P, K] x, y in image pixels
    spread: np.ndarray  # [2P, K] 2 s^2 k^2 in square image pixels; 0 where nothing is labelled


def classify_keypoints(
    ground_truth: GroundTruth, found: Detections, matches: PersonMatches, skeleton: Skeleton
) -> np.ndarray:
    """The kind of each keypoint of those who were found.

    Args:
        ground_truth: of T people.
        found: D detections.
        matches: F of them, each with its person.
        skeleton: with K keypoints.

    Returns:
        [F, K] int8 of `ErrorType`, -1 where the ground truth has no label.
    """
    kinds = np.full((len(matches.person), skeleton.size), -1, np.int8)
    for these, there in _images(ground_truth, matches):
        places = _match_targets(ground_truth, there, skeleton)
        away = _distances(found.keypoints[matches.detection[these]], places)
        kinds[these] = _classify(away, matches.person[these] - there.start)
    kinds[ground_truth.keypoints[matches.person, :, 2] <= 0] = -1
    return kinds


def count_error_types(kinds: np.ndarray, skeleton: Skeleton) -> Mapping[str, np.ndarray]:
    """How many keypoints of each part are of each `ErrorType`: [5] int64 by part."""
    return {
        part: np.bincount(kinds[:, at][kinds[:, at] >= 0], minlength=len(ErrorType))
        for part, at in skeleton.parts.items()
    }


def has_flip_pairs(part: str, skeleton: Skeleton) -> bool:
    """Whether a keypoint of the part can be taken for its left/right counterpart."""
    at = skeleton.parts[part]
    return skeleton.flip_indices[at] != tuple(range(at.start, at.stop))


def _images(ground_truth: GroundTruth, matches: PersonMatches) -> Iterator[tuple[slice, slice]]:
    """The matches of each image that has any, and its people."""
    images = np.arange(len(ground_truth.image_ids) + 1)
    matched = np.searchsorted(ground_truth.image[matches.person], images).tolist()
    people = np.searchsorted(ground_truth.image, images).tolist()
    for image in np.unique(ground_truth.image[matches.person]).tolist():
        yield slice(*matched[image : image + 2]), slice(*people[image : image + 2])


def _match_targets(ground_truth: GroundTruth, which: slice, skeleton: Skeleton) -> MatchTargets:
    """The places in an image whose people those are."""
    keypoints = ground_truth.keypoints[which]
    both = np.concatenate([keypoints, keypoints[:, skeleton.flip_indices]])  # [2P, K, 3]
    # a place has the sigma of the keypoint that is there; in a face those of a pair differ
    own = oks_variances(ground_truth.areas[which], skeleton)
    spread = np.concatenate([own, own[:, skeleton.flip_indices]])
    return MatchTargets(np.moveaxis(both[..., :2], 2, 0), np.where(both[..., 2] > 0, spread, 0.0))


def _distances(found: np.ndarray, places: MatchTargets) -> np.ndarray:
    """How far detections [F, K, 3] are from the places: [F, 2P, K], minus the log of similarity."""
    away = np.zeros((len(found), *places.spread.shape))
    for axis in range(2):
        away += (found[:, None, :, axis].astype(np.float64) - places.points[axis]) ** 2
    far = np.full_like(away, np.inf)
    return np.divide(away, places.spread, out=far, where=places.spread > 0)


def _classify(away: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Kinds [F, K] by distances [F, 2P, K] to places and the number [F] of the own person."""
    rows, people = np.arange(len(own)), away.shape[1] // 2
    best = away.min(1)
    itself, flipped = away[rows, own], away[rows, people + own]  # [F, K]
    close = np.where(best <= -math.log(GOOD_SIMILARITY), ErrorType.GOOD, ErrorType.JITTER)
    other = np.where(flipped == best, ErrorType.INVERSION, ErrorType.SWAP)
    # a keypoint in the middle is its own left/right counterpart: of equal places its own comes first
    near = np.where(itself == best, close, other)
    return np.where(best <= -math.log(NEAR_SIMILARITY), near, ErrorType.MISS)


class ImageErrors(NamedTuple):
    """What went wrong in each of N images."""

    found: np.ndarray  # [N] int64 people
    missed: np.ndarray  # [N] int64 people
    false: np.ndarray  # [N] int64 people
    lost: np.ndarray  # [N] float64: 1 - OKS of those found, together
    kinds: np.ndarray  # [N, 5] int64 keypoints of those found, by `ErrorType`

    @property
    def loss(self) -> np.ndarray:
        """How bad each image is, [N] float64: as if so many people were missed or invented."""
        return self.missed + self.false + self.lost


def image_errors(
    ground_truth: GroundTruth, found: Detections, matches: PersonMatches, kinds: np.ndarray
) -> ImageErrors:
    """The errors of each image.

    Args:
        ground_truth: of N images.
        found: the people found in them.
        matches: F people who were found.
        kinds: [F, K] of their keypoints.
    """
    images = len(ground_truth.image_ids)
    image = ground_truth.image[matches.person]  # [F]
    rows, columns = np.nonzero(kinds >= 0)
    place = image[rows] * len(ErrorType) + kinds[rows, columns]
    return ImageErrors(
        found=np.bincount(image, minlength=images),
        missed=np.bincount(ground_truth.image[matches.missed], minlength=images),
        false=np.bincount(found.image[matches.false], minlength=images),
        lost=np.bincount(image, 1 - matches.oks, minlength=images),
        kinds=np.bincount(place, minlength=images * len(ErrorType)).reshape(images, len(ErrorType)),
    )


def top_indices(values: np.ndarray, count: int) -> list[int]:
    """Places of the largest values above 0, at most `count`, the largest first."""
    order = np.argsort(-values, kind="stable")[:count]
    return order[values[order] > 0].tolist()
