"""Grouping of peaks into people by their tags (Newell 2017, section 3.2).

The peaks of one keypoint after the other are assigned to people by tag distance.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.assignment import AssignmentBuffers, assign_rows, make_assignment_buffers
from tagpose.codec.compilation import ZERO, Float, Int, compilable, compiled

# Cost of one unit of tag distance; scores and products of scores are smaller, so that they only
# decide between pairs with equal rounded distances.
_DISTANCE_COST: Final = 100.0
_UNMATCHED_COST: Final = 1e10  # of leaving a peak without a person
_EXCLUDED: Final = 1e6  # tag distance of excluded pairs
# Maximum distance of a keypoint from its parent, relative to the longer side of the person's box. A
# foot is 0.152 of the height of a standing person (Drillis and Contini 1966), and half of that
# height is visible of a person cropped at the waist.
_MAX_PARENT_DISTANCE: Final = 0.5
_MIN_KEYPOINTS: Final = 5  # detected keypoints needed to estimate the size of a person


@dataclass(frozen=True)
class GroupingConfig:
    """Options of the grouping of peaks into people; the defaults are those of MMPose.

    Attributes:
        order: keypoints in the order in which they are attached to people.
        max_tag_distance: maximum distance (exclusive) between a peak's tag and a person's mean tag.
        part_index: [K] part of each keypoint: a person's mean tag is the mean over parts of the
            mean tag of each part. If empty, it is the mean over all keypoints, half of which belong
            to the face.
        person_score_tie_break: how to decide between assignments with equal rounded distances. If
            true, peaks with higher scores go to people with higher scores: the sum of the products
            of both is maximized. Otherwise, as in MMPose, the sum of the assigned peaks' scores is
            maximized, which does not depend on who gets which peak, and the solver's order decides.
        parents: [K] keypoints near which a keypoint must be if the person has any of them. If
            empty, keypoints may be anywhere.

    Raises:
        ValueError: if `max_tag_distance` is not positive, or the other options do not fit the
            number of keypoints.
    """

    order: tuple[int, ...]
    max_tag_distance: float = 1.0
    part_index: tuple[int, ...] = ()
    person_score_tie_break: bool = False
    parents: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.max_tag_distance <= 0:
            raise ValueError(f"max_tag_distance must be above 0, got {self.max_tag_distance}")
        keypoints = len(self.order)
        if sorted(self.order) != list(range(keypoints)):
            raise ValueError(f"order must contain each keypoint once, got {self.order}")
        for name, values in (("part_index", self.part_index), ("parents", self.parents)):
            if len(values) not in (0, keypoints):
                raise ValueError(
                    f"{name} has {len(values)} entries for {keypoints} keypoints; expected one for "
                    "each keypoint, or none"
                )
        if min(self.part_index, default=0) < 0:
            raise ValueError(f"entries of part_index must be 0 or more, got {self.part_index}")
        if not all(0 <= parent < keypoints for parents in self.parents for parent in parents):
            raise ValueError(
                f"entries of parents must be from 0 to {keypoints - 1}, got {self.parents}"
            )


class GroupedPoses(NamedTuple):
    """People of one image before their missing keypoints are filled in."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (input pixels), score; 0 if missing
    scores: np.ndarray  # [P] float32, descending
    tags: np.ndarray  # [P, L] float32: mean tag of each person


def group_peaks(
    xy: np.ndarray, scores: np.ndarray, tags: np.ndarray, config: GroupingConfig
) -> np.ndarray:
    """Group the peaks of one image into people.

    Each keypoint's peaks are assigned to people with the Hungarian method.

    Args:
        xy: positions [K, N, 2] of the peaks in input pixels.
        scores: scores [K, N] in descending order, padded with 0.
        tags: tags [K, N, L] of the peaks.
        config: options of the grouping.

    Returns:
        Index [P, K] of each person's peak of each keypoint, -1 if it is missing; people are in the
        order in which they were started.
    """
    rule = _make_rule(config, len(scores))
    peaks = ImagePeaks(xy.astype(np.int32), scores, np.ascontiguousarray(tags, np.float32))
    room, views = int((scores > 0).sum()), tags.shape[2]
    parts = int(rule.part_index.max(initial=0)) + 1
    people = GroupingState(
        size=np.zeros(1, np.int64),
        first_tag=np.empty(room, np.float32),
        peaks=np.empty((room, len(scores)), np.int32),
        tag_sums=np.empty((room, parts, views), np.float32),
        tag_counts=np.empty((room, parts), np.float32),
        scores=np.zeros(room, np.float64),
    )
    max_peaks = scores.shape[1]
    max_columns = max(max_peaks, room)
    matching = Matching(
        np.empty(max_peaks * max_columns),
        np.empty(max_peaks * max_columns),
        np.empty((views, room), np.float32),
        make_assignment_buffers(max_peaks, max_columns),
    )
    _assign_keypoints(peaks, rule, people, matching)
    return people.peaks[: people.size[0]]


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


class GroupingRule(NamedTuple):
    """`GroupingConfig` as arrays."""

    order: np.ndarray  # [K] int64
    part_index: np.ndarray  # [K] int64
    parents: np.ndarray  # [K, R] int64, padded with -1
    max_tag_distance: float
    person_score_tie_break: bool


class ImagePeaks(NamedTuple):
    """Peaks of one image."""

    xy: np.ndarray  # [K, N, 2] int32: input pixels
    scores: np.ndarray  # [K, N] float32, padded with 0
    tags: np.ndarray  # [K, N, L] float32


class GroupingState(NamedTuple):
    """People so far, in arrays with room for as many people as there are peaks."""

    size: np.ndarray  # [1] int64: number of people so far
    first_tag: np.ndarray  # [room] float32: first tag of the peak that started each person
    peaks: np.ndarray  # [room, K] int32: peak of each keypoint, -1 if missing
    tag_sums: np.ndarray  # [room, F, L] float32: sum of the tags of each part
    tag_counts: np.ndarray  # [room, F] float32: number of tags of each part
    scores: np.ndarray  # [room] float64: scores of all peaks attached so far, divided by K


class Matching(NamedTuple):
    """Buffers for the assignment of one keypoint's peaks to people."""

    distances: np.ndarray  # [N * max(N, room)] float64, row by row
    costs: np.ndarray  # [N * max(N, room)] float64, row by row
    mean_tags: np.ndarray  # [L, room] float32: mean tags of people
    assignment: AssignmentBuffers  # `row_columns`: person of each peak, -1 for none


@lru_cache(maxsize=16)
def _make_rule(config: GroupingConfig, keypoints: int) -> GroupingRule:
    """Convert a config to arrays."""
    max_parents = max(map(len, config.parents), default=0)
    padded = [(*parents, *[-1] * (max_parents - len(parents))) for parents in config.parents]
    return GroupingRule(
        np.array(config.order, np.int64),
        np.array(config.part_index or [0] * keypoints, np.int64),
        np.array(padded, np.int64).reshape(len(padded), max_parents),
        float(config.max_tag_distance),
        config.person_score_tie_break,
    )


@compiled
def _assign_keypoints(
    peaks: ImagePeaks, rule: GroupingRule, people: GroupingState, matching: Matching
) -> None:
    """Assign the peaks of all keypoints to people."""
    for keypoint in rule.order:
        rows = ZERO
        for score in peaks.scores[keypoint]:
            rows += score > 0
        if rows > 0:
            _match_peaks(peaks, rule, people, matching, keypoint, rows)
            owners = matching.assignment.row_columns[:rows]
            _attach_peaks(peaks, rule, people, owners, keypoint)


@compilable
def _match_peaks(
    peaks: ImagePeaks,
    rule: GroupingRule,
    people: GroupingState,
    matching: Matching,
    keypoint: Int,
    rows: Int,
) -> None:
    """Assign one keypoint's peaks to distinct people; those of no person get -1."""
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
            preference = score
            if rule.person_score_tie_break:
                preference *= people.scores[person]
            costs[person] = _DISTANCE_COST * np.rint(distances[person]) - preference
            near |= distances[person] < rule.max_tag_distance
        costs[count:] = _UNMATCHED_COST
    if near:
        assign_rows(matching.costs, rows, columns, matching.assignment)
        _reject_distant(rule, people, matching, rows)
    else:  # no person is within the maximum distance of any peak
        matching.assignment.row_columns[:rows] = -1


@compilable
def _write_mean_tags(people: GroupingState, mean_tags: np.ndarray) -> None:
    """Write the mean tag of each person, [L, room]: the mean over the means of its parts."""
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


@compilable
def _write_distances(
    peaks: ImagePeaks,
    rule: GroupingRule,
    people: GroupingState,
    mean_tags: np.ndarray,
    keypoint: Int,
    row: Int,
    distances: np.ndarray,
) -> None:
    """Write the tag distances between one peak and all people."""
    distances[:] = 0
    for view in range(len(mean_tags)):
        tag = np.float64(peaks.tags[keypoint, row, view])
        for person in range(len(distances)):
            difference = tag - np.float64(mean_tags[view, person])
            distances[person] += difference * difference
    for person in range(len(distances)):
        distances[person] = np.sqrt(distances[person])
    if rule.parents.shape[0]:
        for person in range(len(distances)):
            if _is_far_from_parents(peaks, rule, people, person, keypoint, row):
                distances[person] = _EXCLUDED


@compilable
def _is_far_from_parents(
    peaks: ImagePeaks,
    rule: GroupingRule,
    people: GroupingState,
    person: Int,
    keypoint: Int,
    row: Int,
) -> bool:
    """Return whether a peak is too far from all parents that a person has."""
    x, y = peaks.xy[keypoint, row, 0], peaks.xy[keypoint, row, 1]
    nearest = np.inf
    for parent in rule.parents[keypoint]:
        peak = people.peaks[person, parent] if parent >= 0 else -1
        if peak >= 0:
            distance = np.hypot(peaks.xy[parent, peak, 0] - x, peaks.xy[parent, peak, 1] - y)
            nearest = min(nearest, distance)
    left, right, top, bottom, detected = np.inf, -np.inf, np.inf, -np.inf, 0
    for other in range(people.peaks.shape[1]):
        peak = people.peaks[person, other]
        if peak >= 0:
            detected += 1
            left, right = min(left, peaks.xy[other, peak, 0]), max(right, peaks.xy[other, peak, 0])
            top, bottom = min(top, peaks.xy[other, peak, 1]), max(bottom, peaks.xy[other, peak, 1])
    if nearest == np.inf or detected < _MIN_KEYPOINTS:
        return False
    return nearest > _MAX_PARENT_DISTANCE * max(right - left, bottom - top)


@compilable
def _reject_distant(
    rule: GroupingRule, people: GroupingState, matching: Matching, rows: Int
) -> None:
    """Set the owners of unmatched peaks, and of peaks that are too far away, to -1."""
    count, owners = people.size[0], matching.assignment.row_columns
    columns = max(rows, count)
    for row in range(rows):
        owner = owners[row]
        distance = matching.distances[row * columns + owner] if owner < count else np.inf
        if not distance < rule.max_tag_distance:
            owners[row] = -1


@compilable
def _attach_peaks(
    peaks: ImagePeaks, rule: GroupingRule, people: GroupingState, owners: np.ndarray, keypoint: Int
) -> None:
    """Attach peaks to their people, and start new people from unassigned peaks.

    A peak with exactly the same first tag as the peak that started another person, as around a
    symmetric maximum with several equal pixels, does not start a new person. Instead, the mean tag
    of the other person is reset to the tag of this peak, as in MMPose.
    """
    part = rule.part_index[keypoint]
    for row in range(len(owners)):
        owner = owners[row]
        if owner < 0:
            owner = _start_person(people, peaks.tags[keypoint, row, 0])
            people.tag_sums[owner], people.tag_counts[owner] = 0, 0
        people.peaks[owner, keypoint] = row
        people.tag_counts[owner, part] += np.float32(1)
        score = np.float64(peaks.scores[keypoint, row])
        people.scores[owner] += score / len(peaks.scores)
        for view in range(peaks.tags.shape[2]):
            people.tag_sums[owner, part, view] += peaks.tags[keypoint, row, view]


@compilable
def _start_person(people: GroupingState, tag: Float) -> Int:
    """Start a person, unless one started with the same tag; return the index of the person."""
    for person in range(people.size[0]):
        if people.first_tag[person] == tag:
            return person
    new = people.size[0]
    people.size[0] += 1
    people.first_tag[new], people.peaks[new] = tag, -1
    return new
