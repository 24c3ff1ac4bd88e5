"""This file groups peaks into people by their tags (Newell 2017, section 3.2)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

# Cost of a whole unit of tag distance; scores stay below it, so that they only decide between
# pairs whose rounded distances are equal.
_DISTANCE_COST: Final = 100
_LEFT_OVER_COST: Final = 1e10  # of a peak for which there is no person
_FAR: Final = 1e6  # tag distance of pairs that are not made
# How far from what it hangs on a keypoint may be, in units of the longer side of the box around
# what its person has so far: a foot is 0.152 of a standing person's height (Drillis and Contini
# 1966), and of somebody cut off at the waist half is seen.
_REACH: Final = 0.5
_ENOUGH: Final = 5  # keypoints from which on the box around them says how large a person is


class Groups(NamedTuple):
    """The people of one image before their missing keypoints are filled in."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (input pixels), score; 0 where missing
    tags: np.ndarray  # [P, K, L] float32; 0 where missing


class Grouping(NamedTuple):
    """By what rule peaks become people. The published rule is the default.

    Attributes:
        order: in which the keypoints are attached to people.
        min_score: what a peak must be above.
        max_tag_distance: what the distance of a peak from a person must be below.
        limb_of: [K] the number of each keypoint's limb: a person's tag is the mean over its limbs,
            of the mean in each. Without, it is the mean over all keypoints, half of which are the
            face's.
        nearest: whether of assignments whose rounded distances are equal the nearer one is taken,
            and not the one that a solver meets first.
        roots: [K] the keypoints that a keypoint's limb hangs on; it must be near one of them,
            where its person has some. Without, it may be anywhere.
    """

    order: Sequence[int]
    min_score: float
    max_tag_distance: float
    limb_of: Sequence[int] = ()
    nearest: bool = False
    roots: Sequence[Sequence[int]] = ()


class Ruled:
    """A decoder: has the parts of a `Grouping` among its own."""

    grouping_order: Sequence[int]
    min_score: float
    max_tag_distance: float
    limb_of: Sequence[int]
    nearest: bool
    roots: Sequence[Sequence[int]]

    @property
    def grouping(self) -> Grouping:
        """By what rule peaks become people."""
        return Grouping(
            order=self.grouping_order,
            min_score=self.min_score,
            max_tag_distance=self.max_tag_distance,
            limb_of=self.limb_of,
            nearest=self.nearest,
            roots=self.roots,
        )


class _Founded(NamedTuple):
    """What is known of the people so far; a keypoint's step adds to it, or gives a larger one."""

    numbers: dict[float, int]  # of people, by the first tag of the peak that founded them
    peaks: np.ndarray  # [P, K] int64: which of its keypoint's peaks a person has, -1 for none
    # [P, F, L + 1] float32: the sum of the tags of each limb, and how many they are; in one limb at
    # least there is some
    totals: np.ndarray

    @property
    def mean_tags(self) -> np.ndarray:
        """What the next peaks are compared with [P, L]."""
        return _mean(self.totals)


def _mean(totals: np.ndarray) -> np.ndarray:
    """The mean [P, L] over the limbs of which there is some, of their totals [P, F, L + 1]."""
    if totals.shape[1] == 1:  # as published: the same in a quarter of the time, at every keypoint
        only: np.ndarray = totals[:, 0, :-1] / totals[:, 0, -1:]
        return only
    sums, counts = totals[..., :-1], totals[..., -1:]
    means: np.ndarray = sums / np.maximum(counts, 1)
    return means.sum(1) / (counts > 0).sum(1, dtype=np.float32)


def person_scores(keypoints: np.ndarray) -> np.ndarray:
    """How sure a person is: the mean over all K of its peaks' scores [P, K, 3], missing ones 0."""
    scores: np.ndarray = keypoints[..., 2].mean(-1)
    return scores


def best_people(groups: Groups, count: int | None) -> Groups:
    """The people by falling score, those founded first before their equals; `count` at most."""
    best = np.argsort(-person_scores(groups.keypoints), kind="stable")[:count]
    return Groups(groups.keypoints[best], groups.tags[best])


def person_tags(groups: Groups, limb_of: Sequence[int] = ()) -> np.ndarray:
    """Whose keypoints they are: the mean tags [P, L] over the keypoints that a person has.

    Args:
        groups: P people.
        limb_of: as `Grouping` has it.
    """
    found = groups.keypoints[..., 2:] > 0
    limbs = np.zeros(found.shape[1], int) if not len(limb_of) else np.asarray(limb_of)
    own = limbs[:, None] == np.arange(limbs.max() + 1)  # [K, F]
    sums = np.stack([(groups.tags * (found & at[:, None])).sum(1) for at in own.T], 1)
    counts = np.stack([(found & at[:, None]).sum(1, dtype=np.float32) for at in own.T], 1)
    return _mean(np.concatenate([sums, counts], axis=-1))


def group_peaks(scores: np.ndarray, tags: np.ndarray, xy: np.ndarray, by: Grouping) -> np.ndarray:
    """Who owns which peak.

    Args:
        scores: [K, N] by falling score.
        tags: [K, N, L].
        xy: [K, N, 2] places, input pixels.
        by: the rule.

    Returns:
        [P, K] int64: for each person, in the order of founding, the number of its peak of each
        keypoint, -1 where it has none.
    """
    limb_of = by.limb_of or [0] * len(scores)
    people = _nobody(kinds=len(scores), limbs=1 + max(limb_of), tags=tags.shape[2])
    counts = (scores > by.min_score).sum(1).tolist()
    # with a 1, by which they are counted where they are added up
    counted = np.concatenate([tags, np.ones_like(tags[..., :1])], axis=-1)
    for keypoint in by.order:
        count = counts[keypoint]
        if count == 0:
            continue
        far = _far(people, keypoint, xy, count, by.roots[keypoint]) if by.roots else None
        owners = assign(people.mean_tags, tags[keypoint, :count], scores[keypoint, :count], by, far)
        people = _attach(people, keypoint, limb_of[keypoint], owners, counted[keypoint, :count])
    return people.peaks


def _far(
    people: _Founded, keypoint: int, xy: np.ndarray, count: int, roots: Sequence[int]
) -> np.ndarray:
    """Which of the first peaks [N, P] of a keypoint are too far from what it hangs on."""
    owned = people.peaks
    places = np.where(owned[..., None] >= 0, xy[np.arange(len(xy)), owned], np.nan)  # [P, K, 2]
    hung = places[:, list(roots)]
    apart = np.hypot(*np.moveaxis(xy[keypoint, :count, None, None] - hung, -1, 0))  # [N, P, R]
    nearest = np.fmin.reduce(apart, 2, initial=np.nan) if len(roots) else apart.sum(2) * np.nan
    sides = np.fmax.reduce(places, 1) - np.fmin.reduce(places, 1)  # [P, 2]
    sides[(owned >= 0).sum(1) < _ENOUGH] = np.inf
    far: np.ndarray = nearest > _REACH * sides.max(1)  # false where there is nothing to hang on
    return far


def assign(
    people: np.ndarray,
    peaks: np.ndarray,
    scores: np.ndarray,
    by: Grouping,
    far: np.ndarray | None = None,
) -> np.ndarray:
    """The person that each peak of one keypoint goes to, by the Hungarian method.

    Args:
        people: [P, L] mean tags.
        peaks: [N, L] tags, by falling score.
        scores: [N].
        by: the rule.
        far: [N, P] pairs that are not made, however near their tags are.

    Returns:
        [N] int64, -1 for peaks that go to nobody.
    """
    if not len(people):
        return np.full(len(peaks), -1)
    # Equal optima abound, and the matrix decides which of them the solver meets first. So it is the
    # very one of the established implementation: float64, and a column for each peak left over.
    apart = np.subtract(peaks.T[:, :, None], people.T[:, None], dtype=np.float64)  # [L, N, P]
    distance = np.sqrt(np.add.reduce(np.square(apart, out=apart), 0))  # [N, P]
    if far is not None:
        distance[far] = _FAR
    cost = np.empty((len(peaks), max(len(peaks), len(people))))
    rest = distance if by.nearest else -scores[:, None]
    np.add(_DISTANCE_COST * np.rint(distance), rest, out=cost[:, : len(people)])
    cost[:, len(people) :] = _LEFT_OVER_COST
    rows, columns = linear_sum_assignment(cost)  # a column for every row
    near = distance[rows, np.minimum(columns, len(people) - 1)] < by.max_tag_distance
    owners: np.ndarray = np.where(near & (columns < len(people)), columns, -1)
    return owners


def _nobody(kinds: int, limbs: int, tags: int) -> _Founded:
    """No people with K keypoints in F limbs, of L tags."""
    totals = np.empty((0, limbs, tags + 1), np.float32)
    return _Founded({}, np.empty((0, kinds), np.int64), totals)


def _attach(
    people: _Founded, keypoint: int, limb: int, owners: np.ndarray, counted: np.ndarray
) -> _Founded:
    """The people with one keypoint more, of counted tags [N, L + 1], and those whom they found.

    A founder whose first tag is exactly that of an older one, as around a symmetric peak, where
    equal neighbours are all the largest, is no new person: the older one starts anew with it.
    That is how the established implementation does it.
    """
    if min(owners.tolist()) >= 0:  # an owner each
        people.peaks[owners, keypoint] = np.arange(len(owners))
        people.totals[owners, limb] += counted
        return people
    numbers = people.numbers
    founds = owners < 0
    owners = owners.copy()
    owners[founds] = [numbers.setdefault(tag, len(numbers)) for tag in counted[founds, 0].tolist()]
    _, *each = people.totals.shape
    new = len(numbers) - len(people.peaks)
    peaks = np.concatenate([people.peaks, np.full((new, people.peaks.shape[1]), -1)])
    totals = np.concatenate([people.totals, np.zeros((new, *each), np.float32)])
    for peak, owner in enumerate(owners):  # one by one, as several may have one owner
        if founds[peak]:
            totals[owner] = 0
        peaks[owner, keypoint] = peak
        totals[owner, limb] += counted[peak]
    return _Founded(numbers, peaks, totals)


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
