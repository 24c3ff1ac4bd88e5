"""This file scores people part by part: six parts, ten numbers each, and the mean of the hands.

It equals COCO-WholeBody's official evaluation (xtcocotools, `use_area=True`).
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
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.matching import OKS_THRESHOLDS, find_candidates, match_greedily
from tagpose.evaluation.oks import Pairs, compute_oks, labeled_parts, pair_by_image
from tagpose.evaluation.precision_recall import PrecisionRecallCurves, precision_recall_curves
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA, Poses

# least and largest area in square image pixels (COCO; small people with keypoints it has none)
AREA_RANGES: Final = MappingProxyType(
    {
        "all": (0.0, 1e5**2),
        "medium": (MEDIUM_AREA, LARGE_AREA),
        "large": (LARGE_AREA, 1e5**2),
    }
)
OKS_75_INDEX: Final = OKS_THRESHOLDS.tolist().index(0.75)


class PairedDetections(NamedTuple):
    """D predicted people in M pairs with people of their image, before any threshold."""

    detections: Detections
    pairs: Pairs
    oks: np.ndarray  # [M, Q] float64
    ignored: np.ndarray  # [T, Q] bool, people who count neither as found nor as missed


class PartScores(NamedTuple):
    """Ten numbers of one part, in the official order; -1 where the ground truth has nobody."""

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
    """Scores of a result file, as the official evaluation has them.

    This is `evaluate_parts` of the people in the results, and of what the rows claim beside: how large a
    person is (which decides what counts as medium and large), and how sure each part of it is.
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
    """Average precision and recall of each part.

    Args:
        ground_truth: of all images that count.
        predictions: people by image id, keypoints in image pixels; an absent image has none.
        skeleton: of both.
        extras: of a result file; without any, a person is as large as its body keypoints' extent,
            and every part is ranked by the person's score.

    Returns:
        Scores by part; those of "hand" are the mean of both, or of the one that the ground truth has.

    Raises:
        ValueError: `predictions` has an image unknown to the ground truth, or a number that is not finite.
    """
    paired = pair_with_ground_truth(ground_truth, predictions, skeleton, extras)
    return summarize_curves(compute_part_curves(ground_truth, paired, skeleton))


def pair_with_ground_truth(
    ground_truth: GroundTruth,
    predictions: Mapping[int, Poses],
    skeleton: Skeleton,
    extras: ResultExtras = NO_EXTRAS,
) -> PairedDetections:
    """Hold the predicted people against those who are there, before any threshold.

    Arguments and errors are those of `evaluate_parts`.
    """
    detections = build_detections(predictions, extras, ground_truth, skeleton)
    pairs = pair_by_image(detections.image, ground_truth.image)
    oks = compute_oks(detections, ground_truth, pairs, skeleton)
    return PairedDetections(
        detections,
        pairs,
        oks,
        ground_truth.crowd[:, None] | ~labeled_parts(ground_truth, skeleton),
    )


def compute_part_curves(
    ground_truth: GroundTruth, paired: PairedDetections, skeleton: Skeleton
) -> dict[str, dict[str, PrecisionRecallCurves]]:
    """Precision and recall of each part, and in it of each of AREA_RANGES.

    Args:
        ground_truth: of all images that count.
        paired: the predicted people, held against that ground truth.
        skeleton: of both.
    """
    return {part: _curves_by_area(ground_truth, paired, q) for q, part in enumerate(skeleton.parts)}


def summarize_curves(
    curves: Mapping[str, Mapping[str, PrecisionRecallCurves]],
) -> dict[str, PartScores]:
    """The scores that `evaluate_parts` has, of what `compute_part_curves` has."""
    scores = {part: _summarize_part(*some.values()) for part, some in curves.items()}
    if {"lefthand", "righthand"} <= scores.keys() and "hand" not in scores:
        scores["hand"] = _mean_of_hands(scores["lefthand"], scores["righthand"])
    return scores


def outside_area_range(areas: np.ndarray, size: str) -> np.ndarray:
    """Whether areas are out of the bounds of one of AREA_RANGES; both bounds are inside."""
    low, high = AREA_RANGES[size]
    return (areas < low) | (areas > high)


def _curves_by_area(
    ground_truth: GroundTruth, paired: PairedDetections, q: int
) -> dict[str, PrecisionRecallCurves]:
    """Precision and recall of part number q by size."""
    detections, ignored = paired.detections, paired.ignored[:, q]
    ranks = detections.ranks[q]
    # equal ones stay image by image, the best of an image first, as the official ones come
    order = np.lexsort((ranks, detections.image, -detections.scores[q]))
    order = order[ranks[order] >= 0]
    candidate_pairs, curves = find_candidates(paired.pairs, paired.oks[:, q], ranks), {}
    for size in AREA_RANGES:
        ignored_here = ignored | outside_area_range(ground_truth.areas, size)
        person = match_greedily(candidate_pairs, ignored_here, ground_truth.crowd, len(ranks))[
            :, order
        ]  # [10, D]
        hit = person >= 0
        unmatched_ignored = outside_area_range(detections.areas[order], size)
        counts = ~np.where(hit, np.r_[ignored_here, False][person], unmatched_ignored)
        curves[size] = precision_recall_curves(
            hit & counts, ~hit & counts, int((~ignored_here).sum())
        )
    return curves


def _summarize_part(
    every: PrecisionRecallCurves, medium: PrecisionRecallCurves, large: PrecisionRecallCurves
) -> PartScores:
    """Scores of one part."""
    ap, ap_medium, ap_large = (some.precision.mean(1) for some in (every, medium, large))  # [10]
    precision = ap.mean(), ap[0], ap[OKS_75_INDEX], ap_medium.mean(), ap_large.mean()
    ar = every.recall
    recall = ar.mean(), ar[0], ar[OKS_75_INDEX], medium.recall.mean(), large.recall.mean()
    return PartScores(*map(float, precision + recall))


def _mean_of_hands(left: PartScores, right: PartScores) -> PartScores:
    """Mean of each number, of those that are there."""
    both = np.array([left, right])
    there = both >= 0
    mean = (both * there).sum(0) / there.sum(0).clip(1)
    return PartScores(*np.where(there.any(0), mean, -1.0).tolist())
