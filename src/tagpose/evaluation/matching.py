"""This file decides which detection found whom: greedily, best score first, at each threshold."""

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.detections import MAX_DETECTIONS
from tagpose.evaluation.oks import Pairs

# of OKS; linspace, because arange lands beside .75 (COCO keypoint evaluation)
THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)


class Candidates(NamedTuple):
    """M pairs of one part whose detection may find its person, in the order of choosing."""

    detection: np.ndarray  # [M] int64, the best of their images first
    person: np.ndarray  # [M] int64, the most similar one of a detection first
    reached: np.ndarray  # [thresholds, M] bool, at which of them the pair is similar enough
    turns: np.ndarray  # [MAX_DETECTIONS + 1] int64, where the n-th detections of all images begin


def candidates(
    pairs: Pairs, oks: np.ndarray, ranks: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> Candidates:
    """The pairs of one part that are similar enough.

    Args:
        pairs: M pairs of detections and people.
        oks: [M] of the pairs.
        ranks: [D] place of the detection in its image, -1 for those that take no part.
        thresholds: of OKS, rising.
    """
    able = np.flatnonzero(oks >= thresholds[0])
    able = able[ranks[pairs.detection[able]] >= 0]
    detection, person, oks = pairs.detection[able], pairs.person[able], oks[able]
    # of equal similarities the later annotation is preferred, as in the official loop
    order = np.lexsort((-person, -oks, detection, ranks[detection]))
    detection = detection[order]
    turns = np.searchsorted(ranks[detection], np.arange(MAX_DETECTIONS + 1))
    return Candidates(detection, person[order], oks[order] >= thresholds[:, None], turns)


def match(some: Candidates, ignored: np.ndarray, crowd: np.ndarray, count: int) -> np.ndarray:
    """Whom each detection found, in one part.

    Detections choose one after the other; those of the same turn do in all images at once. Each
    takes the free person of highest OKS above the threshold, one to be ignored only where no other
    is left; a crowd is always free.

    Args:
        some: pairs of detections and people.
        ignored: [T] bool, people who count neither as found nor as missed.
        crowd: [T] bool.
        count: the number D of detections.

    Returns:
        [thresholds, D] int64, the person found at each threshold, -1 for nobody.
    """
    found = np.full((len(some.reached), count), -1)
    free = np.ones((len(some.reached), len(crowd)), bool)
    for begin, end in pairwise(some.turns.tolist()):
        detection, whom = some.detection[begin:end], some.person[begin:end]
        open_pairs = some.reached[:, begin:end] & (free[:, whom] | crowd[whom])
        threshold, pair = _first_open(open_pairs, detection, ignored[whom])
        found[threshold, detection[pair]] = whom[pair]
        free[threshold, whom[pair]] = False
    return found


def _first_open(
    open_pairs: np.ndarray, detection: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Threshold and pair of the first open pair of each detection, where it has one.

    Args:
        open_pairs: [thresholds, M] bool, the preferred pair of a detection first.
        detection: [M], equal ones side by side.
        ignored: [M] bool, pairs that come behind all others of their detection.
    """
    size = len(detection)
    starts = np.flatnonzero(np.diff(detection, prepend=-1))
    place = np.where(open_pairs, np.arange(size) + size * ignored, 2 * size)
    first = np.minimum.reduceat(place, starts, axis=1)  # [thresholds, detections]
    threshold, column = np.nonzero(first < 2 * size)
    return threshold, first[threshold, column] % size
