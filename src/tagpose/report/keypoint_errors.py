"""Error types of matched people's keypoints, and the errors of each image.

The error types are those of Ruggero Ronchi & Perona 2017, "Benchmarking and Error Diagnosis in
Multi-Instance Pose Estimation", computed as in the code that its authors published.
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

# Keypoint similarity: the summand of OKS. Annotators agree with a similarity of about 0.85.
GOOD_SIMILARITY: Final = 0.85
NEAR_SIMILARITY: Final = 0.5


class ErrorType(IntEnum):
    """Error type of a predicted keypoint, by the ground-truth keypoint most similar to it."""

    GOOD = 0  # the correct keypoint, within the variation of human labels
    JITTER = 1  # the correct keypoint, but less similar
    INVERSION = 2  # the left/right counterpart on the same person
    SWAP = 3  # the same keypoint, or its left/right counterpart, on another person
    MISS = 4  # none is similar


class ImageErrors(NamedTuple):
    """Errors in each of N images."""

    matched: np.ndarray  # [N] int64 people
    missed: np.ndarray  # [N] int64 people
    false_positives: np.ndarray  # [N] int64 people
    oks_loss: np.ndarray  # [N] float64, sum of 1 - OKS over matched people
    keypoints: np.ndarray  # [N, 5] int64 keypoints of matched people by `ErrorType`

    @property
    def loss(self) -> np.ndarray:
        """Loss [N] float64 of each image, in the equivalent of missed people."""
        return self.missed + self.false_positives + self.oks_loss


class _Targets(NamedTuple):
    """Ground-truth keypoints of P people of an image, followed by their left/right counterparts."""

    points: np.ndarray  # [2, 2P, K] x, y in image pixels
    variances: np.ndarray  # [2P, K] 2 s^2 k^2 in square image pixels; 0 if unlabeled


def classify_keypoints(
    ground_truth: GroundTruth, detections: Detections, matches: PersonMatches, skeleton: Skeleton
) -> np.ndarray:
    """Return the error type of each keypoint of the matched detections.

    Args:
        ground_truth: ground truth of T people.
        detections: D detections.
        matches: F matches between detections and people.
        skeleton: skeleton with K keypoints.

    Returns:
        `ErrorType` [F, K] int8, or -1 where the ground truth has no label.
    """
    types = np.full((len(matches.person), skeleton.size), -1, np.int8)
    for in_image, people in _slice_by_image(ground_truth, matches):
        targets = _make_targets(ground_truth, people, skeleton)
        keypoints = detections.keypoints[matches.detection[in_image]]
        distances = _compute_distances(keypoints, targets)
        types[in_image] = _classify(distances, matches.person[in_image] - people.start)
    types[ground_truth.keypoints[matches.person, :, 2] <= 0] = -1
    return types


def count_error_types(types: np.ndarray, skeleton: Skeleton) -> Mapping[str, np.ndarray]:
    """Count the keypoints of each part by `ErrorType`: [5] int64 for each part."""
    return {
        part: np.bincount(types[:, at][types[:, at] >= 0], minlength=len(ErrorType))
        for part, at in skeleton.parts.items()
    }


def errors_to_dict(types: np.ndarray, skeleton: Skeleton) -> dict[str, dict[str, int]]:
    """Return the number of keypoints by part and name of the error type."""
    names = [kind.name.lower() for kind in ErrorType]
    counts = count_error_types(types, skeleton)
    return {part: dict(zip(names, row.tolist(), strict=True)) for part, row in counts.items()}


def count_image_errors(
    ground_truth: GroundTruth, detections: Detections, matches: PersonMatches, types: np.ndarray
) -> ImageErrors:
    """Count the errors of each image.

    Args:
        ground_truth: ground truth of N images.
        detections: detections in these images.
        matches: F matches between detections and people.
        types: error types [F, K] of the matched detections' keypoints.
    """
    num_images, num_types = len(ground_truth.image_ids), len(ErrorType)
    image = ground_truth.image[matches.person]  # [F]
    rows, columns = np.nonzero(types >= 0)
    image_and_type = image[rows] * num_types + types[rows, columns]
    keypoints = np.bincount(image_and_type, minlength=num_images * num_types)
    return ImageErrors(
        matched=np.bincount(image, minlength=num_images),
        missed=np.bincount(ground_truth.image[matches.missed], minlength=num_images),
        false_positives=np.bincount(detections.image[matches.false_positive], minlength=num_images),
        oks_loss=np.bincount(image, 1 - matches.oks, minlength=num_images),
        keypoints=keypoints.reshape(num_images, num_types),
    )


def has_flip_pairs(part: str, skeleton: Skeleton) -> bool:
    """Return whether the part has keypoints with a left/right counterpart."""
    at = skeleton.parts[part]
    return skeleton.flip_indices[at] != tuple(range(at.start, at.stop))


def _slice_by_image(
    ground_truth: GroundTruth, matches: PersonMatches
) -> Iterator[tuple[slice, slice]]:
    """Yield the matches and the people of each image with at least one match."""
    images = np.arange(len(ground_truth.image_ids) + 1)
    matched = np.searchsorted(ground_truth.image[matches.person], images).tolist()
    people = np.searchsorted(ground_truth.image, images).tolist()
    for image in np.unique(ground_truth.image[matches.person]).tolist():
        yield slice(*matched[image : image + 2]), slice(*people[image : image + 2])


def _make_targets(ground_truth: GroundTruth, people: slice, skeleton: Skeleton) -> _Targets:
    """Return the targets of all people in an image."""
    keypoints = ground_truth.keypoints[people]
    both = np.concatenate([keypoints, keypoints[:, skeleton.flip_indices]])  # [2P, K, 3]
    # A counterpart has its own sigma, because the sigmas of a left/right pair differ in the face.
    variances = oks_variances(ground_truth.areas[people], skeleton)
    variances = np.concatenate([variances, variances[:, skeleton.flip_indices]])
    return _Targets(np.moveaxis(both[..., :2], 2, 0), np.where(both[..., 2] > 0, variances, 0.0))


def _compute_distances(keypoints: np.ndarray, targets: _Targets) -> np.ndarray:
    """Return -log(similarity) [F, 2P, K] of predicted keypoints [F, K, 3] and the targets."""
    squared = np.zeros((len(keypoints), *targets.variances.shape))
    for axis in range(2):
        squared += (keypoints[:, None, :, axis].astype(np.float64) - targets.points[axis]) ** 2
    unlabeled = np.full_like(squared, np.inf)
    return np.divide(squared, targets.variances, out=unlabeled, where=targets.variances > 0)


def _classify(distances: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Return error types [F, K], given distances [F, 2P, K] and the matched person's index [F]."""
    rows, num_people = np.arange(len(person)), distances.shape[1] // 2
    lowest = distances.min(1)
    correct, flipped = distances[rows, person], distances[rows, num_people + person]  # [F, K]
    close = np.where(lowest <= -math.log(GOOD_SIMILARITY), ErrorType.GOOD, ErrorType.JITTER)
    other = np.where(flipped == lowest, ErrorType.INVERSION, ErrorType.SWAP)
    # Keypoints in the middle are their own counterpart, so equal distances count as correct.
    similar = np.where(correct == lowest, close, other)
    return np.where(lowest <= -math.log(NEAR_SIMILARITY), similar, ErrorType.MISS)
