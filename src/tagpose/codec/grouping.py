"""This file groups peaks into people by their tags (Newell 2017, section 3.2)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

# Cost of a whole unit of tag distance; scores stay below it, so that they only decide between
# pairs whose rounded distances are equal.
_DISTANCE_COST: Final = 100
_LEFT_OVER_COST: Final = 1e10  # of a peak for which there is no person


class Groups(NamedTuple):
    """The people of one image before their missing keypoints are filled in."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (input pixels), score; 0 where missing
    tags: np.ndarray  # [P, K, L] float32; 0 where missing


class _Founded(NamedTuple):
    """What is known of the people so far; a keypoint's step adds to it, or gives a larger one."""

    numbers: dict[float, int]  # of people, by the first tag of the peak that founded them
    peaks: np.ndarray  # [P, K] int64: which of its keypoint's peaks a person has, -1 for none
    tag_sums: np.ndarray  # [P, L] float32
    tag_counts: np.ndarray  # [P, 1] float32: tags in the sum, 1 or more

    @property
    def mean_tags(self) -> np.ndarray:
        """What the next peaks are compared with [P, L]."""
        return self.tag_sums / self.tag_counts


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
    people = _nobody(kinds=len(scores), tags=tags.shape[2])
    counts = (scores > min_score).sum(1).tolist()
    for keypoint in order:
        count = counts[keypoint]
        if count == 0:
            continue
        peaks = tags[keypoint, :count]
        owners = assign(people.mean_tags, peaks, scores[keypoint, :count], max_tag_distance)
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
        [N] int64, -1 for peaks that go to nobody.
    """
    # Equal optima abound, and the matrix decides which of them the solver meets first. So it is the
    # very one of the established implementation: float64, and a column for each peak left over.
    apart = peaks.T[:, :, None].astype(np.float64) - people.T[:, None]  # [L, N, P]
    distance = np.sqrt(np.add.reduce(np.square(apart, out=apart), 0))  # [N, P]
    cost = np.full((len(peaks), max(len(peaks), len(people))), _LEFT_OVER_COST)
    cost[:, : len(people)] = _DISTANCE_COST * np.rint(distance) - scores[:, None].astype(np.float64)
    rows, columns = linear_sum_assignment(cost)
    there = columns < len(people)
    rows, columns = rows[there], columns[there]
    close = distance[rows, columns] < max_tag_distance
    owners = np.full(len(peaks), -1)
    owners[rows[close]] = columns[close]
    return owners


def _nobody(kinds: int, tags: int) -> _Founded:
    """No people with K keypoints of L tags."""
    sums, counts = np.empty((0, tags), np.float32), np.empty((0, 1), np.float32)
    return _Founded({}, np.empty((0, kinds), np.int64), sums, counts)


def _attach(people: _Founded, keypoint: int, owners: np.ndarray, tags: np.ndarray) -> _Founded:
    """The people with one keypoint more, and those whom its peaks found.

    A founder whose first tag is exactly that of an older one, as around a symmetric peak, where
    equal neighbours are all the largest, is no new person: the older one starts anew with it.
    That is how the established implementation does it.
    """
    if (owners >= 0).all():  # an owner each
        people.peaks[owners, keypoint] = np.arange(len(owners))
        people.tag_sums[owners] += tags
        people.tag_counts[owners] += 1
        return people
    numbers = people.numbers
    founds = owners < 0
    owners = owners.copy()
    owners[founds] = [numbers.setdefault(tag, len(numbers)) for tag in tags[founds, 0].tolist()]
    new = len(numbers) - len(people.peaks)
    peaks = np.pad(people.peaks, ((0, new), (0, 0)), constant_values=-1)
    sums, counts = (np.pad(one, ((0, new), (0, 0))) for one in (people.tag_sums, people.tag_counts))
    for peak, owner in enumerate(owners):  # one by one, as several may have one owner
        kept = 0 if founds[peak] else 1
        peaks[owner, keypoint] = peak
        sums[owner] = kept * sums[owner] + tags[peak]
        counts[owner] = kept * counts[owner] + 1
    return _Founded(numbers, peaks, sums, counts)


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
