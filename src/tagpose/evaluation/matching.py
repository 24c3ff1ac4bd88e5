"""This file decides which detection found whom: greedily, best score first, at ten thresholds."""

from itertools import pairwise
from typing import Final

import numpy as np

from tagpose.evaluation.detections import MAX_DETECTIONS
from tagpose.evaluation.oks import Pairs

# of OKS; linspace, because arange lands beside .75 (COCO keypoint evaluation)
THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)


def match(
    pairs: Pairs, oks: np.ndarray, ranks: np.ndarray, ignored: np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    """Whom each detection found, in one part.

    Detections choose one after the other. Each takes the free person of highest OKS above the
    threshold, one to be ignored only where no other is left; a crowd is always free.

    Args:
        pairs: M pairs of detections and people.
        oks: [M] of the pairs.
        ranks: [D] place of the detection in its image, -1 for those that take no part.
        ignored: [T] bool, people who count neither as found nor as missed.
        crowd: [T] bool.

    Returns:
        [10, D] int64, the person found at each threshold, -1 for nobody.
    """
    able = np.flatnonzero((oks >= THRESHOLDS[0]) & (ranks[pairs.detection] >= 0))
    detection, person, oks = pairs.detection[able], pairs.person[able], oks[able]
    # of equal similarities the later annotation is preferred, as in the official loop
    order = np.lexsort((-person, -oks, ignored[person], detection, ranks[detection]))
    reached = oks[order] >= THRESHOLDS[:, None]  # [10, M]
    return _choose(detection[order], person[order], reached, ranks, crowd)


def _choose(
    detection: np.ndarray,
    person: np.ndarray,
    reached: np.ndarray,
    ranks: np.ndarray,
    crowd: np.ndarray,
) -> np.ndarray:
    """All images at once: the n-th detections of all images choose in step n.

    Args:
        detection: [M] of the pairs, the best of their images first.
        person: [M], the preferred one of a detection first.
        reached: [10, M] bool, whether the pair is similar enough.
        ranks: [D].
        crowd: [T].
    """
    found = np.full((len(THRESHOLDS), len(ranks)), -1)
    free = np.ones((len(THRESHOLDS), len(crowd)), bool)
    steps = np.searchsorted(ranks[detection], np.arange(MAX_DETECTIONS + 1))
    for begin, end in pairwise(steps.tolist()):
        whom = person[begin:end]
        open_pairs = reached[:, begin:end] & (free[:, whom] | crowd[whom])
        threshold, pair = _first_open(open_pairs, detection[begin:end])
        found[threshold, detection[begin:end][pair]] = whom[pair]
        free[threshold, whom[pair]] = False
    return found


def _first_open(open_pairs: np.ndarray, detection: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Threshold and pair of the first open pair of each detection, where it has one.

    Args:
        open_pairs: [10, M] bool, the preferred pair of a detection first.
        detection: [M], equal ones side by side.
    """
    size = len(detection)
    starts = np.flatnonzero(np.diff(detection, prepend=-1))
    place = np.where(open_pairs, np.arange(size), size)
    first = np.minimum.reduceat(place, starts, axis=1)  # [10, detections]
    threshold, column = np.nonzero(first < size)
    return threshold, first[threshold, column]
