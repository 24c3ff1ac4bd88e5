"""This file decides which detection found whom: greedily, best score first, at each threshold."""

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.detections import MAX_DETECTIONS
from tagpose.evaluation.oks import Pairs

# of OKS; linspace, because arange lands beside .75 (COCO keypoint evaluation)
OKS_THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)


class CandidatePairs(NamedTuple):
    """M pairs of one part whose detection may find its person, in the order of choosing."""

    detection: np.ndarray  # [M] int64, the best of their images first
    person: np.ndarray  # [M] int64, the most similar one of a detection first
    above_threshold: np.ndarray  # [thresholds, M] bool, at which of them the pair is similar enough
    rank_starts: (
        np.ndarray
    )  # [MAX_DETECTIONS + 1] int64, where the n-th detections of all images begin


def find_candidates(
    pairs: Pairs, oks: np.ndarray, ranks: np.ndarray, thresholds: np.ndarray = OKS_THRESHOLDS
) -> CandidatePairs:
    """The pairs of one part that are similar enough.

    Args:
        pairs: M pairs of detections and people.
        oks: [M] of the pairs.
        ranks: [D] place of the detection in its image, -1 for those that take no part.
        thresholds: of OKS, rising.
    """
    similar = np.flatnonzero(oks >= thresholds[0])
    similar = similar[ranks[pairs.detection[similar]] >= 0]
    detection, person, oks = pairs.detection[similar], pairs.person[similar], oks[similar]
    # of equal similarities the later annotation is preferred, as in the official loop
    order = np.lexsort((-person, -oks, detection, ranks[detection]))
    detection = detection[order]
    rank_starts = np.searchsorted(ranks[detection], np.arange(MAX_DETECTIONS + 1))
    return CandidatePairs(detection, person[order], oks[order] >= thresholds[:, None], rank_starts)


def match_greedily(
    candidates: CandidatePairs, ignored: np.ndarray, crowd: np.ndarray, count: int
) -> np.ndarray:
    """Whom each detection found, in one part.

    Detections choose one after the other; those of the same turn do in all images at once. Each
    takes the free person of highest OKS above the threshold, one to be ignored only where no other
    is left; a crowd is always free.

    Args:
        candidates: pairs of detections and people.
        ignored: [T] bool, people who count neither as found nor as missed.
        crowd: [T] bool.
        count: the number D of detections.

    Returns:
        [thresholds, D] int64, the person found at each threshold, -1 for nobody.
    """
    matched = np.full((len(candidates.above_threshold), count), -1)
    free = np.ones((len(candidates.above_threshold), len(crowd)), bool)
    for begin, end in pairwise(candidates.rank_starts.tolist()):
        detection, person_index = candidates.detection[begin:end], candidates.person[begin:end]
        free_pairs = candidates.above_threshold[:, begin:end] & (
            free[:, person_index] | crowd[person_index]
        )
        threshold, pair = _first_free_pair(free_pairs, detection, ignored[person_index])
        matched[threshold, detection[pair]] = person_index[pair]
        free[threshold, person_index[pair]] = False
    return matched


def _first_free_pair(
    free_pairs: np.ndarray, detection: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Threshold and pair of the first open pair of each detection, where it has one.

    Args:
        free_pairs: [thresholds, M] bool, the preferred pair of a detection first.
        detection: [M], equal ones side by side.
        ignored: [M] bool, pairs that come behind all others of their detection.
    """
    size = len(detection)
    starts = np.flatnonzero(np.diff(detection, prepend=-1))
    place = np.where(free_pairs, np.arange(size) + size * ignored, 2 * size)
    first = np.minimum.reduceat(place, starts, axis=1)  # [thresholds, detections]
    threshold, column = np.nonzero(first < 2 * size)
    return threshold, first[threshold, column] % size
