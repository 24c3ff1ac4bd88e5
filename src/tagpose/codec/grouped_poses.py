"""People of one image gathered from grouped peaks, their scores and mean tags."""

from typing import NamedTuple

import numpy as np


class GroupedPoses(NamedTuple):
    """People of one image before their missing keypoints are filled in."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (input pixels), score; 0 if missing
    scores: np.ndarray  # [P] float32, descending
    tags: np.ndarray  # [P, L] float32: mean tag of each person


def gather_poses(
    person_peaks: np.ndarray,
    xy: np.ndarray,
    scores: np.ndarray,
    tags: np.ndarray,
    part_index: tuple[int, ...] = (),
    *,
    max_people: int | None = None,
    min_person_score: float = 0.0,
) -> GroupedPoses:
    """Gather the keypoints of the people with the highest scores.

    Args:
        person_peaks: index [P, K] of the peak of each keypoint, -1 if it is missing.
        xy: positions [K, N, 2] of the peaks in input pixels.
        scores: scores [K, N] of the peaks.
        tags: tags [K, N, L] of the peaks.
        part_index: see `GroupingConfig`.
        max_people: maximum number of people; None returns all.
        min_person_score: people with a lower score are dropped.
    """
    channels = np.arange(person_peaks.shape[1])
    detected = person_peaks >= 0
    peak_scores = np.where(detected, scores[channels, person_peaks], np.float32(0))
    person_scores = compute_person_scores(peak_scores)
    best = np.argsort(-person_scores, kind="stable")[:max_people]
    best = best[person_scores[best] >= min_person_score]
    person_peaks, detected = person_peaks[best], detected[best]
    positions = np.where(detected[..., None], xy[channels, person_peaks], 0).astype(np.float32)
    keypoints = np.concatenate([positions, peak_scores[best][..., None]], axis=-1)
    mean_tags = compute_person_tags(tags[channels, person_peaks], detected, part_index)
    return GroupedPoses(keypoints, person_scores[best], mean_tags)


def compute_person_scores(peak_scores: np.ndarray) -> np.ndarray:
    """Return the mean of each person's peak scores [P, K] over all keypoints, 0 if missing."""
    scores: np.ndarray = peak_scores.mean(-1)
    return scores


def compute_person_tags(
    tags: np.ndarray, detected: np.ndarray, part_index: tuple[int, ...] = ()
) -> np.ndarray:
    """Return the mean tags [P, L] of people.

    Args:
        tags: tags [P, K, L] of their keypoints.
        detected: [P, K] bool, which keypoints are detected, at least one per person.
        part_index: see `GroupingConfig`.
    """
    parts = np.asarray(part_index or [0] * detected.shape[1])
    in_part = (parts == np.arange(parts.max(initial=0) + 1)[:, None]).astype(np.float32)  # [F, K]
    weights = detected[:, None] * in_part  # [P, F, K]
    counts = weights.sum(-1, keepdims=True)  # [P, F, 1]
    means = np.matmul(weights, np.where(detected[..., None], tags, 0)) / np.maximum(counts, 1)
    result: np.ndarray = means.sum(1) / (counts > 0).sum(1, dtype=np.float32)
    return result
