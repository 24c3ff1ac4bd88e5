"""Average precision and recall per part: six parts with ten numbers each, and the mean hand.

Equals COCO-WholeBody's official evaluation (xtcocotools, `use_area=True`). The numbers are
converted to JSON.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import (
    NO_EXTRAS,
    CocoResult,
    ResultExtras,
    from_coco_results,
    read_extras,
)
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.matching import (
    OKS_THRESHOLDS,
    PairedDetections,
    find_candidates,
    match_greedily,
    pair_with_ground_truth,
)
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA, Poses

# minimum and maximum area in square image pixels (COCO, where small people have no keypoints)
AREA_RANGES: Final = MappingProxyType(
    {
        "all": (0.0, 1e5**2),
        "medium": (MEDIUM_AREA, LARGE_AREA),
        "large": (LARGE_AREA, 1e5**2),
    }
)
OKS_75_INDEX: Final = OKS_THRESHOLDS.tolist().index(0.75)
RECALL_THRESHOLDS: Final = np.linspace(0, 1, 101)  # where precision is sampled (COCO)

_HANDS: Final = ("lefthand", "righthand")
_HAND: Final = "hand"  # name of the mean of both


class PartScores(NamedTuple):
    """Ten numbers of one part, in the official order; -1 without any ground truth."""

    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float


class PrecisionRecallCurves(NamedTuple):
    """Precision and recall of one part at each OKS threshold; -1 without any ground truth."""

    precision: np.ndarray  # [10, 101], the best at each of RECALL_THRESHOLDS or a higher recall
    recall: np.ndarray  # [10] recall of all detections


def evaluate_results(
    ground_truth: GroundTruth, results: list[CocoResult], skeleton: Skeleton
) -> dict[str, PartScores]:
    """Evaluate the records of a result file like the official evaluation.

    This is `evaluate_parts` of the poses, with the areas of the records' boxes (which decide what
    counts as medium and large) and their part scores.
    """
    return evaluate_parts(
        ground_truth, from_coco_results(results, skeleton), skeleton, read_extras(results, skeleton)
    )


def evaluate_parts(
    ground_truth: GroundTruth,
    predictions: Mapping[int, Poses],
    skeleton: Skeleton,
    extras: ResultExtras = NO_EXTRAS,
) -> dict[str, PartScores]:
    """Compute average precision and recall of each part.

    Args:
        ground_truth: all images of the evaluation.
        predictions: people by image id, keypoints in image pixels; absent images have none.
        skeleton: skeleton of both.
        extras: areas and part scores of a result file. By default, a person's area is the extent of
            its body keypoints, and every part is ranked by the person's score.

    Returns:
        Scores by part. "hand" is the mean of both hands, or the hand that the ground truth has.

    Raises:
        ValueError: if an image is not in the ground truth, or a value is not finite.
    """
    paired = pair_with_ground_truth(ground_truth, predictions, skeleton, extras)
    return summarize_curves(compute_part_curves(ground_truth, paired, skeleton))


def compute_part_curves(
    ground_truth: GroundTruth, paired: PairedDetections, skeleton: Skeleton
) -> dict[str, dict[str, PrecisionRecallCurves]]:
    """Compute precision-recall curves for each part and each of AREA_RANGES.

    Args:
        ground_truth: all images of the evaluation.
        paired: detections paired with this ground truth.
        skeleton: skeleton of both.
    """
    return {part: _curves_by_area(ground_truth, paired, q) for q, part in enumerate(skeleton.parts)}


def summarize_curves(
    curves: Mapping[str, Mapping[str, PrecisionRecallCurves]],
) -> dict[str, PartScores]:
    """Summarize the curves of `compute_part_curves` as scores by part."""
    scores = {part: _summarize_part(*by_area.values()) for part, by_area in curves.items()}
    if _has_mean_of_hands(scores):
        scores[_HAND] = _mean_of_hands(*(scores[part] for part in _HANDS))
    return scores


def scored_parts(skeleton: Skeleton) -> list[str]:
    """Return the names of the parts that `evaluate_parts` scores."""
    return [*skeleton.parts, *([_HAND] if _has_mean_of_hands(skeleton.parts) else [])]


def _has_mean_of_hands(parts: Collection[str]) -> bool:
    """Return whether the scores of parts include the mean of both hands."""
    return {*_HANDS} <= {*parts} and _HAND not in parts


def outside_area_range(areas: np.ndarray, size: str) -> np.ndarray:
    """Return which areas are outside one of AREA_RANGES, whose bounds are inclusive."""
    low, high = AREA_RANGES[size]
    return (areas < low) | (areas > high)


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


def _curves_by_area(
    ground_truth: GroundTruth, paired: PairedDetections, q: int
) -> dict[str, PrecisionRecallCurves]:
    """Return the precision-recall curves of part q by area range."""
    detections = paired.detections
    ranks = detections.ranks[q]
    # equal scores stay grouped by image, the best of an image first, as in the official evaluation
    order = np.lexsort((ranks, detections.image, -detections.scores[q]))
    order = order[ranks[order] >= 0]
    candidates, curves = find_candidates(paired.pairs, paired.oks[:, q], ranks), {}
    for size in AREA_RANGES:
        ignored = paired.ignored[:, q] | outside_area_range(ground_truth.areas, size)
        matched = match_greedily(candidates, ignored, ground_truth.crowd, len(ranks))
        person = matched[:, order]  # [10, D]
        hit = person >= 0
        unmatched_ignored = outside_area_range(detections.areas[order], size)
        counts = ~np.where(hit, np.r_[ignored, False][person], unmatched_ignored)
        curves[size] = precision_recall_curves(hit & counts, ~hit & counts, int((~ignored).sum()))
    return curves


def _summarize_part(
    every: PrecisionRecallCurves, medium: PrecisionRecallCurves, large: PrecisionRecallCurves
) -> PartScores:
    """Return the scores of one part."""
    ap, ap_medium, ap_large = (curves.precision.mean(1) for curves in (every, medium, large))
    precision = ap.mean(), ap[0], ap[OKS_75_INDEX], ap_medium.mean(), ap_large.mean()
    ar = every.recall  # [10], like ap
    recall = ar.mean(), ar[0], ar[OKS_75_INDEX], medium.recall.mean(), large.recall.mean()
    return PartScores(*map(float, precision + recall))


def _mean_of_hands(left: PartScores, right: PartScores) -> PartScores:
    """Return the mean of each number over the hands that the ground truth has."""
    both = np.array([left, right])
    valid = both >= 0
    mean = (both * valid).sum(0) / valid.sum(0).clip(1)
    return PartScores(*np.where(valid.any(0), mean, -1.0).tolist())


def scores_to_dict(scores: Mapping[str, PartScores]) -> dict[str, dict[str, float]]:
    """Return all numbers by part, for JSON."""
    return {part: part_scores._asdict() for part, part_scores in scores.items()}


def read_scores(file: Path, table: str = "parts") -> dict[str, PartScores]:
    """Return the scores by part in a metrics.json, from one of its tables."""
    parts = json.loads(file.read_bytes())[table]
    return {part: PartScores(**scores) for part, scores in parts.items()}
