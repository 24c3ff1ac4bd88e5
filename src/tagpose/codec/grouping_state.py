"""Arrays that the compiled grouping of peaks reads and writes."""

from typing import NamedTuple

import numpy as np


class GroupingRule(NamedTuple):
    """`GroupingConfig` as arrays."""

    order: np.ndarray  # [K] int64
    part_index: np.ndarray  # [K] int64
    parents: np.ndarray  # [K, R] int64, padded with -1
    max_tag_distance: float
    distance_tie_break: bool


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


class Matching(NamedTuple):
    """Buffers for the distances and costs between one keypoint's peaks and the people."""

    distances: np.ndarray  # [N * max(N, room)] float64, row by row
    costs: np.ndarray  # [N * max(N, room)] float64, row by row
    owners: np.ndarray  # [N] int64: person of each peak, -1 for none
    mean_tags: np.ndarray  # [L, room] float32: mean tags of people
