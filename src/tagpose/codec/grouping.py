"""Group peaks into people by their tags (Newell 2017, section 3.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from tagpose.codec.compilation import Float, Int, compiled, compiled_with_arrays
from tagpose.codec.grouping_state import GroupingRule, GroupingState, ImagePeaks, Matching
from tagpose.codec.peak_matching import match_peaks, reject_distant


@dataclass(frozen=True)
class GroupingConfig:
    """Options of the grouping of peaks into people; the defaults are those of MMPose.

    Attributes:
        order: keypoints in the order in which they are attached to people.
        max_tag_distance: maximum distance (exclusive) between a peak's tag and a person's mean tag.
        part_index: [K] part of each keypoint: a person's mean tag is the mean over parts of the
            mean tag of each part. If empty, it is the mean over all keypoints, half of which belong
            to the face.
        distance_tie_break: whether the smaller distance decides between assignments with equal
            rounded distances. Otherwise the higher score decides, and then the solver's order.
        parents: [K] keypoints near which a keypoint must be if the person has any of them. If
            empty, keypoints may be anywhere.

    Raises:
        ValueError: if `max_tag_distance` is not positive, or the other options do not fit the
            number of keypoints.
    """

    order: tuple[int, ...]
    max_tag_distance: float = 1.0
    part_index: tuple[int, ...] = ()
    distance_tie_break: bool = False
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


def group_peaks(
    xy: np.ndarray, scores: np.ndarray, tags: np.ndarray, config: GroupingConfig
) -> np.ndarray:
    """Group the peaks of one image into people.

    Each keypoint's peaks are assigned to people with the Hungarian method. If every peak has a
    unique nearest person and no two peaks share one, that is the optimum; otherwise scipy solves
    the assignment.

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
    )
    max_peaks = scores.shape[1]
    size = max_peaks * max(max_peaks, room)
    matching = Matching(
        np.empty(size),
        np.empty(size),
        np.empty(max_peaks, np.int64),
        np.empty((views, room), np.float32),
    )
    for rows, columns in _assign_keypoints(peaks, rule, people, matching):
        costs = matching.costs[: rows * columns].reshape(rows, columns)
        matching.owners[:rows] = linear_sum_assignment(costs)[1]
    return people.peaks[: people.size[0]]


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
        config.distance_tie_break,
    )


@compiled_with_arrays
def _assign_keypoints(
    peaks: ImagePeaks, rule: GroupingRule, people: GroupingState, matching: Matching
) -> Iterator[tuple[Int, Int]]:
    """Assign the peaks of all keypoints to people, and yield when a solver is needed.

    Yields:
        Numbers of rows and columns of `matching.costs`; the caller must write the columns of the
        solution into `matching.owners` before the next step.
    """
    for keypoint in rule.order:
        rows = np.int64(0)  # numba would compile another signature for a literal
        for score in peaks.scores[keypoint]:
            rows += score > 0
        if rows == 0:
            continue
        if not match_peaks(peaks, rule, people, matching, keypoint, rows):
            yield rows, max(rows, people.size[0])
        reject_distant(rule, people, matching, rows)
        _attach_peaks(peaks, rule, people, matching.owners[:rows], keypoint)


@compiled
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
        for view in range(peaks.tags.shape[2]):
            people.tag_sums[owner, part, view] += peaks.tags[keypoint, row, view]


@compiled
def _start_person(people: GroupingState, tag: Float) -> Int:
    """Start a person, unless one started with the same tag; return the index of the person."""
    for person in range(people.size[0]):
        if people.first_tag[person] == tag:
            return person
    new = people.size[0]
    people.size[0] += 1
    people.first_tag[new], people.peaks[new] = tag, -1
    return new
