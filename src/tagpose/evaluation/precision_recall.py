"""This file turns hits and misses into precision over recall, as COCO reads it."""

from typing import Final, NamedTuple

import numpy as np

RECALL_THRESHOLDS: Final = np.linspace(0, 1, 101)  # where precision is read (COCO)


class PrecisionRecallCurves(NamedTuple):
    """What one part reaches at each threshold of OKS; -1 where nobody is to be found."""

    precision: (
        np.ndarray
    )  # [10, 101] at RECALL_THRESHOLDS, each the best at that recall or a higher one
    recall: np.ndarray  # [10] with all detections


def precision_recall_curves(
    right: np.ndarray, wrong: np.ndarray, people: int
) -> PrecisionRecallCurves:
    """Precision over recall at each threshold.

    Args:
        right: [10, D] bool, detections that found somebody, by falling score.
        wrong: [10, D] bool, those that found nobody.
        people: the number of people to be found.
    """
    rows = len(right)
    if people == 0:
        return PrecisionRecallCurves(
            np.full((rows, len(RECALL_THRESHOLDS)), -1.0), np.full(rows, -1.0)
        )
    hits, misses = np.cumsum(right, 1), np.cumsum(wrong, 1)  # [10, D]
    precision = hits / (hits + misses + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]  # at this recall or a higher one
    # the hits that a recall needs are whole numbers, so one search serves all rows, each lifted
    # above the one before
    needed = np.searchsorted(np.arange(people + 1) / people, RECALL_THRESHOLDS)
    lift = np.arange(rows)[:, None] * (people + 1)
    where = np.searchsorted((hits + lift).ravel(), (needed + lift).ravel()).reshape(rows, -1)
    where -= np.arange(rows)[:, None] * right.shape[1]
    best = np.c_[best, np.zeros(rows)]  # a recall that is never reached has precision 0
    return PrecisionRecallCurves(np.take_along_axis(best, where, 1), right.sum(1) / people)
