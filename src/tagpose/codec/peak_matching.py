"""Assignment of one keypoint's peaks to people by tag distance."""

from typing import Final

import numpy as np

from tagpose.codec.compilation import Int, compiled
from tagpose.codec.grouping_state import GroupingRule, GroupingState, ImagePeaks, Matching

# Cost of one unit of tag distance; scores are smaller, so that they only decide between pairs with
# equal rounded distances.
_DISTANCE_COST: Final = 100.0
_UNMATCHED_COST: Final = 1e10  # of leaving a peak without a person
_EXCLUDED: Final = 1e6  # tag distance of excluded pairs
# Maximum distance of a keypoint from its parent, relative to the longer side of the person's box. A
# foot is 0.152 of the height of a standing person (Drillis and Contini 1966), and half of that
# height is visible of a person cropped at the waist.
_MAX_PARENT_DISTANCE: Final = 0.5
_MIN_KEYPOINTS: Final = 5  # detected keypoints needed to estimate the size of a person


@compiled
def match_peaks(
    peaks: ImagePeaks,
    rule: GroupingRule,
    people: GroupingState,
    matching: Matching,
    keypoint: Int,
    rows: Int,
) -> bool:
    """Match peaks with people if the assignment is unambiguous; else write costs, return False."""
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
            tie_break = distances[person] if rule.distance_tie_break else -score
            costs[person] = _DISTANCE_COST * np.rint(distances[person]) + tie_break
            near |= distances[person] < rule.max_tag_distance
        costs[count:] = _UNMATCHED_COST
    if not near:  # no person is within the maximum distance of any peak
        matching.owners[:rows] = -1
        return True
    return rows <= count and _has_distinct_minima(matching, rows, columns)


@compiled
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


@compiled
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


@compiled
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


@compiled
def _has_distinct_minima(matching: Matching, rows: Int, columns: Int) -> bool:
    """Return whether each row of costs has a unique minimum, all in distinct columns.

    These minima are then the optimal assignment, which is written into `matching.owners`.
    """
    for row in range(rows):
        costs = matching.costs[row * columns : (row + 1) * columns]
        best = np.argmin(costs)
        for column in range(best + 1, columns):
            if costs[column] == costs[best]:
                return False
        for previous in range(row):
            if matching.owners[previous] == best:
                return False
        matching.owners[row] = best
    return True


@compiled
def reject_distant(
    rule: GroupingRule, people: GroupingState, matching: Matching, rows: Int
) -> None:
    """Set the owners of unmatched peaks, and of peaks that are too far away, to -1."""
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
