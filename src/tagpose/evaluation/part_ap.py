"""This file scores people part by part: six parts, ten numbers each, and the mean of the hands.

It equals COCO-WholeBody's official evaluation (xtcocotools, `use_area=True`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.claims import NO_CLAIMS, Claims, read_claims
from tagpose.evaluation.detections import Detections, lay_out
from tagpose.evaluation.matching import THRESHOLDS, candidates, match
from tagpose.evaluation.oks import Pairs, labelled_parts, pair_up, similarities
from tagpose.evaluation.precision import Curves, precision_recall
from tagpose.evaluation.rows import Row, from_rows
from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA, People

# least and largest area in square image pixels (COCO; small people with keypoints it has none)
SIZES: Final = MappingProxyType(
    {
        "all": (0.0, 1e5**2),
        "medium": (MEDIUM_AREA, LARGE_AREA),
        "large": (LARGE_AREA, 1e5**2),
    }
)
AT_75: Final = THRESHOLDS.tolist().index(0.75)


class Compared(NamedTuple):
    """D people found in M pairs with people of their image, before any threshold."""

    detections: Detections
    pairs: Pairs
    oks: np.ndarray  # [M, Q] float64
    ignored: np.ndarray  # [T, Q] bool, people who count neither as found nor as missed


class Scores(NamedTuple):
    """Ten numbers of one part, in the official order; -1 where the truth has nobody."""

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


def row_scores(truth: Truth, rows: list[Row], skeleton: Skeleton) -> dict[str, Scores]:
    """Scores of a result file, as the official evaluation has them.

    This is `part_scores` of the people in the rows, and of what the rows claim beside: how large a
    person is (which decides what counts as medium and large), and how sure each part of it is.
    """
    return part_scores(truth, from_rows(rows, skeleton), skeleton, read_claims(rows, skeleton))


def part_scores(
    truth: Truth,
    found: Mapping[int, People],
    skeleton: Skeleton,
    claims: Claims = NO_CLAIMS,
) -> dict[str, Scores]:
    """Average precision and recall of each part.

    Args:
        truth: of all images that count.
        found: people by image id, keypoints in image pixels; an absent image has none.
        skeleton: of both.
        claims: of a result file; without any, a person is as large as its body keypoints' extent,
            and every part is ranked by the person's score.

    Returns:
        Scores by part; those of "hand" are the mean of both, or of the one that the truth has.

    Raises:
        ValueError: `found` has an image unknown to the truth, or a number that is not finite.
    """
    compared = compare(truth, found, skeleton, claims)
    return scores_of(part_curves(truth, compared, skeleton))


def compare(
    truth: Truth,
    found: Mapping[int, People],
    skeleton: Skeleton,
    claims: Claims = NO_CLAIMS,
) -> Compared:
    """Hold the people found against those who are there, before any threshold.

    Arguments and errors are those of `part_scores`.
    """
    detections = lay_out(found, claims, truth, skeleton)
    pairs = pair_up(detections.image, truth.image)
    oks = similarities(detections, truth, pairs, skeleton)
    return Compared(detections, pairs, oks, truth.crowd[:, None] | ~labelled_parts(truth, skeleton))


def part_curves(
    truth: Truth, compared: Compared, skeleton: Skeleton
) -> dict[str, dict[str, Curves]]:
    """Precision and recall of each part, and in it of each of SIZES.

    Args:
        truth: of all images that count.
        compared: the people found, held against that truth.
        skeleton: of both.
    """
    return {part: _curves(truth, compared, q) for q, part in enumerate(skeleton.parts)}


def scores_of(curves: Mapping[str, Mapping[str, Curves]]) -> dict[str, Scores]:
    """The scores that `part_scores` has, of what `part_curves` has."""
    scores = {part: _scores(*some.values()) for part, some in curves.items()}
    if {"lefthand", "righthand"} <= scores.keys() and "hand" not in scores:
        scores["hand"] = _mean(scores["lefthand"], scores["righthand"])
    return scores


def outside(areas: np.ndarray, size: str) -> np.ndarray:
    """Whether areas are out of the bounds of one of SIZES; both bounds are inside."""
    low, high = SIZES[size]
    return (areas < low) | (areas > high)


def _curves(truth: Truth, compared: Compared, q: int) -> dict[str, Curves]:
    """Precision and recall of part number q by size."""
    detections, ignored = compared.detections, compared.ignored[:, q]
    ranks = detections.ranks[q]
    # equal ones stay image by image, the best of an image first, as the official ones come
    order = np.lexsort((ranks, detections.image, -detections.scores[q]))
    order = order[ranks[order] >= 0]
    some, curves = candidates(compared.pairs, compared.oks[:, q], ranks), {}
    for size in SIZES:
        aside = ignored | outside(truth.areas, size)
        person = match(some, aside, truth.crowd, len(ranks))[:, order]  # [10, D]
        hit = person >= 0
        lost_aside = outside(detections.areas[order], size)
        counts = ~np.where(hit, np.r_[aside, False][person], lost_aside)
        curves[size] = precision_recall(hit & counts, ~hit & counts, int((~aside).sum()))
    return curves


def _scores(every: Curves, medium: Curves, large: Curves) -> Scores:
    """Scores of one part."""
    ap, ap_medium, ap_large = (some.precision.mean(1) for some in (every, medium, large))  # [10]
    precision = ap.mean(), ap[0], ap[AT_75], ap_medium.mean(), ap_large.mean()
    ar = every.recall
    recall = ar.mean(), ar[0], ar[AT_75], medium.recall.mean(), large.recall.mean()
    return Scores(*map(float, precision + recall))


def _mean(left: Scores, right: Scores) -> Scores:
    """Mean of each number, of those that are there."""
    both = np.array([left, right])
    there = both >= 0
    mean = (both * there).sum(0) / there.sum(0).clip(1)
    return Scores(*np.where(there.any(0), mean, -1.0).tolist())
