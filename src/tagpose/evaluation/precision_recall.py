"""Precision-recall curves from true and false positives, as COCO defines them."""

from typing import Final, NamedTuple

import numpy as np

RECALL_THRESHOLDS: Final = np.linspace(0, 1, 101)  # where precision is sampled (COCO)


class PrecisionRecallCurves(NamedTuple):
    """Precision and recall of one part at each OKS threshold; -1 without any ground truth."""

    precision: np.ndarray  # [10, 101], the best at each of RECALL_THRESHOLDS or a higher recall
    recall: np.ndarray  # [10] recall of all detections


def precision_recall_curves(
    true_positive: np.ndarray, false_positive: np.ndarray, people: int
) -> PrecisionRecallCurves:
    """Compute precision over recall at each OKS threshold.

    Args:
        true_positive: [10, D] bool, matched detections, by descending score.
        false_positive: [10, D] bool, unmatched detections.
        people: number of ground-truth people.
    """
    rows = len(true_positive)
    if people == 0:
        return PrecisionRecallCurves(
            np.full((rows, len(RECALL_THRESHOLDS)), -1.0), np.full(rows, -1.0)
        )
    hits, misses = np.cumsum(true_positive, 1), np.cumsum(false_positive, 1)  # [10, D]
    precision = hits / (hits + misses + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]  # at this recall or a higher one
    # Each recall threshold needs an integer number of hits; offsets that keep the concatenated
    # rows sorted let one search serve all of them.
    needed = np.searchsorted(np.arange(people + 1) / people, RECALL_THRESHOLDS)
    offset = np.arange(rows)[:, None] * (people + 1)
    index = np.searchsorted((hits + offset).ravel(), (needed + offset).ravel()).reshape(rows, -1)
    index -= np.arange(rows)[:, None] * true_positive.shape[1]
    best = np.c_[best, np.zeros(rows)]  # precision is 0 at a recall that is never reached
    return PrecisionRecallCurves(np.take_along_axis(best, index, 1), true_positive.sum(1) / people)
