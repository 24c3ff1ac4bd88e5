"""Group peaks into people by their tags (Newell 2017, section 3.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from tagpose.codec.compilation import Float, Int, compiled

# Cost of a whole unit of tag distance; scores stay below it, so that they only decide between
# pairs whose rounded distances are equal.
_DISTANCE_COST: Final = 100.0
_UNMATCHED_COST: Final = 1e10  # of a peak for which there is no person
_EXCLUDED: Final = 1e6  # tag distance of pairs that are excluded
# How far a keypoint may be from its parent, in units of the longer side of the person's box: a foot
# is 0.152 of a standing person's height (Drillis and Contini 1966), and of a person cropped at the
# waist half is visible.
_REACH: Final = 0.5
_MIN_KEYPOINTS: Final = 5  # of a person whose size is estimated from its keypoints


class GroupedPoses(NamedTuple):
    """The people of one image before their missing keypoints are filled in."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (input pixels), score; 0 where missing
    scores: np.ndarray  # [P] float32, falling
    tags: np.ndarray  # [P, L] float32: the mean tag of each person


@dataclass(frozen=True)
class GroupingConfig:
    """The rule by which peaks become people; the defaults are MMPose's.

    Attributes:
        order: keypoints in the order in which they are attached to people.
        max_tag_distance: maximum distance (exclusive) between a peak's tag and a person's mean tag.
        part_index: [K] the part of each keypoint: a person's tag is the mean over its parts of the
            mean tag of each part. If empty, it is the mean over all keypoints, half of which are
            the face's.
        distance_tie_break: whether the smaller distance decides between assignments whose rounded distances
            are equal; otherwise the score does, and then the order in which the solver finds them.
        parents: [K] keypoints near which a keypoint must be if the person has any of them. If
            empty, keypoints may be anywhere.

    Raises:
        ValueError: if `max_tag_distance` is not positive, or the others do not fit the keypoints.
    """

    order: tuple[int, ...]
    max_tag_distance: float = 1.0
    part_index: tuple[int, ...] = ()
    distance_tie_break: bool = False
    parents: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.max_tag_distance <= 0:
            raise ValueError(f"max_tag_distance is {self.max_tag_distance}; it must be above 0")
        keypoints = len(self.order)
        if sorted(self.order) != list(range(keypoints)):
            raise ValueError(f"order is {self.order}; it must name each keypoint once")
        for name, values in (("part_index", self.part_index), ("parents", self.parents)):
            if len(values) not in (0, keypoints):
                raise ValueError(
                    f"{name} has {len(values)} entries and there are {keypoints} keypoints; give "
                    "one for each, or none"
                )
        if min(self.part_index, default=0) < 0:
            raise ValueError(f"part_index is {self.part_index}; its entries must be 0 or more")
        if not all(0 <= parent < keypoints for some in self.parents for parent in some):
            raise ValueError(f"parents is {self.parents}; its entries must be keypoints")


class _Rule(NamedTuple):
    """A GroupingConfig as arrays."""

    order: np.ndarray  # [K] int64
    part_index: np.ndarray  # [K] int64
    parents: np.ndarray  # [K, R] int64, -1 where there are fewer
    max_tag_distance: float
    distance_tie_break: bool


class _Peaks(NamedTuple):
    """The peaks of one image."""

    xy: np.ndarray  # [K, N, 2] int32, input pixels
    scores: np.ndarray  # [K, N] float32, 0 where there are fewer than N
    tags: np.ndarray  # [K, N, L] float32


class _GroupingState(NamedTuple):
    """The people found so far; there is room for as many as there are peaks."""

    size: np.ndarray  # [1] int64: P
    first_tag: np.ndarray  # [room] float32: first tag of the peak that started a person
    peaks: np.ndarray  # [room, K] int32: the peak of each keypoint, -1 where there is none
    tag_sums: np.ndarray  # [room, F, L] float32: sums of the tags of each part
    tag_counts: np.ndarray  # [room, F] float32: their numbers


class _Matching(NamedTuple):
    """Distances and costs of one keypoint's peaks and the people; memory that is used again."""

    distances: np.ndarray  # [N * max(N, room)] float64, row by row
    costs: np.ndarray  # [N * max(N, room)] float64, row by row
    owners: np.ndarray  # [N] int64
    mean_tags: np.ndarray  # [L, room] float32 of the people


def group_peaks(
    xy: np.ndarray, scores: np.ndarray, tags: np.ndarray, config: GroupingConfig
) -> np.ndarray:
    """Return which peaks belong to which person.

    Each keypoint's peaks are assigned to people by the Hungarian method. If every peak has a unique
    nearest person and no two peaks share one, that is the optimum; otherwise scipy solves the
    matrix.

    Args:
        xy: positions [K, N, 2] in input pixels.
        scores: [K, N] by falling score, 0 where there are fewer peaks.
        tags: [K, N, L].
        config: the rule.

    Returns:
        [P, K] for each person, in the order in which they were started, the number of its peak of
        each keypoint, -1 where it has none.
    """
    rule = _make_rule(config, len(scores))
    peaks = _Peaks(xy.astype(np.int32), scores, np.ascontiguousarray(tags, np.float32))
    room, views = int((scores > 0).sum()), tags.shape[2]
    parts = int(rule.part_index.max(initial=0)) + 1
    people = _GroupingState(
        size=np.zeros(1, np.int64),
        first_tag=np.empty(room, np.float32),
        peaks=np.empty((room, len(scores)), np.int32),
        tag_sums=np.empty((room, parts, views), np.float32),
        tag_counts=np.empty((room, parts), np.float32),
    )
    most = scores.shape[1]
    size = most * max(most, room)
    matching = _Matching(
        np.empty(size),
        np.empty(size),
        np.empty(most, np.int64),
        np.empty((views, room), np.float32),
    )
    for rows, columns in _assign_keypoints(peaks, rule, people, matching):
        costs = matching.costs[: rows * columns].reshape(rows, columns)
        matching.owners[:rows] = linear_sum_assignment(costs)[1]
    return people.peaks[: people.size[0]]


@lru_cache(maxsize=16)
def _make_rule(config: GroupingConfig, keypoints: int) -> _Rule:
    """Return a config as arrays."""
    most = max(map(len, config.parents), default=0)
    parents = [(*some, *[-1] * (most - len(some))) for some in config.parents]
    return _Rule(
        np.array(config.order, np.int64),
        np.array(config.part_index or [0] * keypoints, np.int64),
        np.array(parents, np.int64).reshape(len(parents), most),
        float(config.max_tag_distance),
        config.distance_tie_break,
    )


@compiled
def _assign_keypoints(
    peaks: _Peaks, rule: _Rule, people: _GroupingState, matching: _Matching
) -> Iterator[tuple[Int, Int]]:
    """Assign all keypoints, and yield where a solver is needed.

    Yields:
        Rows and columns of `matching.costs`; the columns of the solution must be in
        `matching.owners` before the next step.
    """
    for keypoint in rule.order:
        rows = np.int64(0)  # for a literal numba would compile another signature
        for score in peaks.scores[keypoint]:
            rows += score > 0
        if rows == 0:
            continue
        if not _match_peaks(peaks, rule, people, matching, keypoint, rows):
            yield rows, max(rows, people.size[0])
        _reject_distant(rule, people, matching, rows)
        _attach_peaks(peaks, rule, people, matching.owners[:rows], keypoint)


@compiled
def _match_peaks(
    peaks: _Peaks,
    rule: _Rule,
    people: _GroupingState,
    matching: _Matching,
    keypoint: Int,
    rows: Int,
) -> bool:
    """Match peaks with people if the assignment is unambiguous, else write costs, return False."""
    count, near = people.size[0], False
    columns = max(rows, count)
    _write_mean_tags(people, matching.mean_tags)
    for row in range(rows):
        start = row * columns
        distances = matching.distances[start : start + count]
        costs = matching.costs[start : start + columns]
        _write_distances(peaks, rule, people, matching.mean_tags, keypoint, row, distances)
        score = np.float64(peaks.scores[keypoint, row])
        for person in range(count):
            rest = distances[person] if rule.distance_tie_break else -score
            costs[person] = _DISTANCE_COST * np.rint(distances[person]) + rest
            near |= distances[person] < rule.max_tag_distance
        costs[count:] = _UNMATCHED_COST
    if not near:  # no person is within the maximum distance of any peak
        matching.owners[:rows] = -1
        return True
    return rows <= count and _has_distinct_minima(matching, rows, columns)


@compiled
def _write_distances(
    peaks: _Peaks,
    rule: _Rule,
    people: _GroupingState,
    mean_tags: np.ndarray,
    keypoint: Int,
    row: Int,
    distances: np.ndarray,
) -> None:
    """Write the tag distances between a peak and all people."""
    distances[:] = 0
    for view in range(len(mean_tags)):
        tag = np.float64(peaks.tags[keypoint, row, view])
        for person in range(len(distances)):
            apart = tag - np.float64(mean_tags[view, person])
            distances[person] += apart * apart
    for person in range(len(distances)):
        distances[person] = np.sqrt(distances[person])
    if rule.parents.shape[0]:
        for person in range(len(distances)):
            if _is_far_from_parents(peaks, rule, people, person, keypoint, row):
                distances[person] = _EXCLUDED


@compiled
def _write_mean_tags(people: _GroupingState, mean_tags: np.ndarray) -> None:
    """Write the mean over each person's parts of the mean tag of each part, [L, room]."""
    for person in range(people.size[0]):
        mean_tags[:, person], parts = 0, np.float32(0)
        for part in range(people.tag_counts.shape[1]):
            count = people.tag_counts[person, part]
            if count > 0:
                parts += np.float32(1)
                for view in range(len(mean_tags)):
                    mean_tags[view, person] += people.tag_sums[person, part, view] / count
        for view in range(len(mean_tags)):
            mean_tags[view, person] /= parts


@compiled
def _is_far_from_parents(
    peaks: _Peaks, rule: _Rule, people: _GroupingState, person: Int, keypoint: Int, row: Int
) -> bool:
    """Whether a peak is too far from all parents that a person has."""
    x, y = peaks.xy[keypoint, row, 0], peaks.xy[keypoint, row, 1]
    nearest = np.inf
    for parent in rule.parents[keypoint]:
        peak = people.peaks[person, parent] if parent >= 0 else -1
        if peak >= 0:
            apart = np.hypot(peaks.xy[parent, peak, 0] - x, peaks.xy[parent, peak, 1] - y)
            nearest = min(nearest, apart)
    left, right, top, bottom, owned = np.inf, -np.inf, np.inf, -np.inf, 0
    for other in range(people.peaks.shape[1]):
        peak = people.peaks[person, other]
        if peak >= 0:
            owned += 1
            left, right = min(left, peaks.xy[other, peak, 0]), max(right, peaks.xy[other, peak, 0])
            top, bottom = min(top, peaks.xy[other, peak, 1]), max(bottom, peaks.xy[other, peak, 1])
    if nearest == np.inf or owned < _MIN_KEYPOINTS:
        return False
    return nearest > _REACH * max(right - left, bottom - top)


@compiled
def _has_distinct_minima(matching: _Matching, rows: Int, columns: Int) -> bool:
    """Whether the rows of the costs have unique minima in distinct columns: the optimum."""
    for row in range(rows):
        costs = matching.costs[row * columns : (row + 1) * columns]
        best = np.argmin(costs)
        for column in range(best + 1, columns):
            if costs[column] == costs[best]:
                return False
        for before in range(row):
            if matching.owners[before] == best:
                return False
        matching.owners[row] = best
    return True


@compiled
def _reject_distant(rule: _Rule, people: _GroupingState, matching: _Matching, rows: Int) -> None:
    """Replace the owners of peaks that are too far away, or unmatched, by -1."""
    count = people.size[0]
    columns = max(rows, count)
    for row in range(rows):
        owner = matching.owners[row]
        if owner >= count:
            matching.owners[row] = -1
        elif owner >= 0:
            distance = matching.distances[row * columns + owner]
            if not distance < rule.max_tag_distance:
                matching.owners[row] = -1


@compiled
def _attach_peaks(
    peaks: _Peaks, rule: _Rule, people: _GroupingState, owners: np.ndarray, keypoint: Int
) -> None:
    """Attach peaks to their people, and start new people from unassigned peaks.

    A peak whose first tag is exactly that of the peak that started another person, as around a
    symmetric maximum with several equal pixels, starts no new person: the mean tag of the other
    person starts anew with it, as in MMPose.
    """
    part = rule.part_index[keypoint]
    for row in range(len(owners)):
        owner = owners[row]
        if owner < 0:
            owner = _start_person(people, peaks.tags[keypoint, row, 0])
            people.tag_sums[owner], people.tag_counts[owner] = 0, 0
        people.peaks[owner, keypoint] = row
        people.tag_counts[owner, part] += np.float32(1)
        for view in range(peaks.tags.shape[2]):
            people.tag_sums[owner, part, view] += peaks.tags[keypoint, row, view]


@compiled
def _start_person(people: _GroupingState, tag: Float) -> Int:
    """Return the index of the person started by a tag, which may already exist."""
    for person in range(people.size[0]):
        if people.first_tag[person] == tag:
            return person
    new = people.size[0]
    people.size[0] += 1
    people.first_tag[new], people.peaks[new] = tag, -1
    return new


def gather_poses(
    owned: np.ndarray,
    xy: np.ndarray,
    scores: np.ndarray,
    tags: np.ndarray,
    part_index: tuple[int, ...] = (),
    *,
    max_people: int | None = None,
    min_person_score: float = 0.0,
) -> GroupedPoses:
    """Return the best people with their keypoints, by falling score.

    Args:
        owned: [P, K] the peak of each keypoint, -1 where there is none.
        xy: positions [K, N, 2] of the peaks in input pixels.
        scores: [K, N].
        tags: [K, N, L].
        part_index: see `GroupingConfig`.
        max_people: how many to return at most; None for all.
        min_person_score: people with a lower score are left out.
    """
    every = np.arange(owned.shape[1])
    there = owned >= 0
    peak_scores = np.where(there, scores[every, owned], np.float32(0))
    means = compute_person_scores(peak_scores)
    best = np.argsort(-means, kind="stable")[:max_people]
    best = best[means[best] >= min_person_score]
    owned, there = owned[best], there[best]
    places = np.where(there[..., None], xy[every, owned], 0).astype(np.float32)
    keypoints = np.concatenate([places, peak_scores[best][..., None]], axis=-1)
    mean_tags = compute_person_tags(tags[every, owned], there, part_index)
    return GroupedPoses(keypoints, means[best], mean_tags)


def compute_person_scores(peak_scores: np.ndarray) -> np.ndarray:
    """Return the mean over all K of the scores [P, K] of each person's peaks, 0 where missing."""
    scores: np.ndarray = peak_scores.mean(-1)
    return scores


def compute_person_tags(
    tags: np.ndarray, there: np.ndarray, part_index: tuple[int, ...] = ()
) -> np.ndarray:
    """Return the mean tags [P, L] of people.

    Args:
        tags: [P, K, L] of their keypoints.
        there: [P, K] bool, which keypoints they have; at least one each.
        part_index: see `GroupingConfig`.
    """
    parts = np.asarray(part_index or [0] * there.shape[1])
    of_part = (parts == np.arange(parts.max(initial=0) + 1)[:, None]).astype(np.float32)  # [F, K]
    weights = there[:, None] * of_part  # [P, F, K]
    counts = weights.sum(-1, keepdims=True)  # [P, F, 1]
    means = np.matmul(weights, np.where(there[..., None], tags, 0)) / np.maximum(counts, 1)
    result: np.ndarray = means.sum(1) / (counts > 0).sum(1, dtype=np.float32)
    return result
