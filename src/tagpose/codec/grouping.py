"""This file groups peaks into people by their tags (Newell 2017, section 3.2)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

# Cost of a whole unit of tag distance; scores stay below it, so that they only decide between
# pairs whose rounded distances are equal.
_DISTANCE_COST: Final = 100


class Groups(NamedTuple):
    """The people of one image before their missing keypoints are filled in."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (input pixels), score; 0 where missing
    tags: np.ndarray  # [P, K, L] float32; 0 where missing


class _Founded(NamedTuple):
    """What is known of the people so far; a keypoint's step gives the next one."""

    peaks: np.ndarray  # [P, K] int64: which of its keypoint's peaks a person has, -1 for none
    tag_sums: np.ndarray  # [P, L] float32: over the peaks that it has

    @property
    def mean_tags(self) -> np.ndarray:
        """[P, L]; everybody has at least the peak that founded them."""
        return self.tag_sums / (self.peaks >= 0).sum(1, keepdims=True, dtype=np.float32)


def group_peaks(
    scores: np.ndarray,
    tags: np.ndarray,
    order: Sequence[int],
    min_score: float,
    max_tag_distance: float,
) -> np.ndarray:
    """Who owns which peak.

    Args:
        scores: [K, N] by falling score.
        tags: [K, N, L].
        order: in which the keypoints are attached to people.
        min_score: what a peak must be above.
        max_tag_distance: what the distance of a peak from a person must be below.

    Returns:
        [P, K] int64: for each person, in the order of founding, the number of its peak of each
        keypoint, -1 where it has none.
    """
    people = _Founded(
        np.empty((0, len(scores)), np.int64), np.empty((0, tags.shape[2]), np.float32)
    )
    for keypoint in order:
        peaks = tags[keypoint][scores[keypoint] > min_score]
        owners = assign(people.mean_tags, peaks, scores[keypoint][: len(peaks)], max_tag_distance)
        people = _attach(people, keypoint, owners, peaks)
    return people.peaks


def assign(
    people: np.ndarray, peaks: np.ndarray, scores: np.ndarray, max_tag_distance: float
) -> np.ndarray:
    """The person that each peak of one keypoint goes to, by the Hungarian method.

    Args:
        people: [P, L] mean tags.
        peaks: [N, L] tags, by falling score.
        scores: [N].
        max_tag_distance: pairs that far apart are not made.

    Returns:
        [N] int64; peaks without a person get the numbers P, P + 1, ... of new ones.
    """
    distance = np.linalg.norm(peaks[:, None] - people[None], axis=-1)  # [N, P]
    rows, columns = linear_sum_assignment(_DISTANCE_COST * np.round(distance) - scores[:, None])
    close = distance[rows, columns] < max_tag_distance
    owners = np.full(len(peaks), -1)
    owners[rows[close]] = columns[close]
    alone = owners < 0
    owners[alone] = len(people) + np.arange(alone.sum())
    return owners


def _attach(people: _Founded, keypoint: int, owners: np.ndarray, tags: np.ndarray) -> _Founded:
    """The people with one keypoint more, and those whom its peaks found."""
    new = max(owners.max(initial=-1) + 1 - len(people.peaks), 0)
    peaks = np.pad(people.peaks, ((0, new), (0, 0)), constant_values=-1)
    tag_sums = np.pad(people.tag_sums, ((0, new), (0, 0)))
    peaks[owners, keypoint] = np.arange(len(owners))
    tag_sums[owners] += tags
    return _Founded(peaks, tag_sums)


def gather_people(
    owned: np.ndarray, xy: np.ndarray, scores: np.ndarray, tags: np.ndarray
) -> Groups:
    """The keypoints of people who own peaks.

    Args:
        owned: [P, K] number of the peak, -1 for none.
        xy: [K, N, 2] places of the peaks, input pixels.
        scores: [K, N].
        tags: [K, N, L].
    """
    rows = np.concatenate([xy, scores[..., None], tags], axis=-1).astype(np.float32)
    people = np.where(owned[..., None] >= 0, rows[np.arange(len(rows)), owned], np.float32(0))
    return Groups(people[..., :3], people[..., 3:])
