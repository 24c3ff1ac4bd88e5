"""Average precision and recall per part: six parts with ten numbers each, and the mean hand.

Equals COCO-WholeBody's official evaluation (xtcocotools, `use_area=True`).
"""

from collections.abc import Mapping
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
from tagpose.evaluation.detections import Detections, build_detections
from tagpose.evaluation.ground_truth import GroundTruth, labeled_parts
from tagpose.evaluation.matching import (
    OKS_THRESHOLDS,
    Pairs,
    find_candidates,
    match_greedily,
    pair_by_image,
)
from tagpose.evaluation.oks import compute_oks
from tagpose.evaluation.precision_recall import PrecisionRecallCurves, precision_recall_curves
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


class PairedDetections(NamedTuple):
    """D detections in M pairs with ground-truth people of their image, before any threshold."""

    detections: Detections
    pairs: Pairs
    oks: np.ndarray  # [M, Q] float64
    ignored: np.ndarray  # [T, Q] bool, people that are neither true positives nor false negatives


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


def pair_with_ground_truth(
    ground_truth: GroundTruth,
    predictions: Mapping[int, Poses],
    skeleton: Skeleton,
    extras: ResultExtras = NO_EXTRAS,
) -> PairedDetections:
    """Pair detections with ground-truth people and compute their OKS, before any threshold.

    Arguments and errors are those of `evaluate_parts`.
    """
    detections = build_detections(predictions, extras, ground_truth, skeleton)
    pairs = pair_by_image(detections.image, ground_truth.image)
    oks = compute_oks(detections, ground_truth, pairs, skeleton)
    ignored = ground_truth.crowd[:, None] | ~labeled_parts(ground_truth, skeleton)
    return PairedDetections(detections, pairs, oks, ignored)


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
    if {"lefthand", "righthand"} <= scores.keys() and "hand" not in scores:
        scores["hand"] = _mean_of_hands(scores["lefthand"], scores["righthand"])
    return scores


def outside_area_range(areas: np.ndarray, size: str) -> np.ndarray:
    """Return which areas are outside one of AREA_RANGES, whose bounds are inclusive."""
    low, high = AREA_RANGES[size]
    return (areas < low) | (areas > high)


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
