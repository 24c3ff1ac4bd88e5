"""This file scores people part by part: six parts, ten numbers each, and the mean of the hands.

It equals COCO-WholeBody's official evaluation (xtcocotools, `use_area=True`).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.claims import NO_CLAIMS, Claims, read_claims
from tagpose.evaluation.detections import Detections, lay_out
from tagpose.evaluation.matching import THRESHOLDS, candidates, match
from tagpose.evaluation.oks import Pairs, labelled_parts, pair_up, similarities
from tagpose.evaluation.rows import Row, from_rows
from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA, People

_RECALLS: Final = np.linspace(0, 1, 101)  # where precision is read (COCO)
# all, medium, large, in square image pixels (COCO; there are no small people with keypoints)
_AREAS: Final = ((0.0, 1e5**2), (MEDIUM_AREA, LARGE_AREA), (LARGE_AREA, 1e5**2))
_AT_75: Final = THRESHOLDS.tolist().index(0.75)


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
    detections = lay_out(found, claims, truth, skeleton)
    pairs = pair_up(detections.image, truth.image)
    oks = similarities(detections, truth, pairs, skeleton)
    ignored = truth.crowd[:, None] | ~labelled_parts(truth, skeleton)
    columns = zip(detections.scores, detections.ranks, oks.T, ignored.T, strict=True)
    each = [_scores(truth, detections, pairs, *column) for column in columns]
    scores = dict(zip(skeleton.parts, each, strict=True))
    if {"lefthand", "righthand"} <= scores.keys():
        scores["hand"] = _mean(scores["lefthand"], scores["righthand"])
    return scores


def _scores(
    truth: Truth,
    detections: Detections,
    pairs: Pairs,
    scores: np.ndarray,
    ranks: np.ndarray,
    oks: np.ndarray,
    ignored: np.ndarray,
) -> Scores:
    """Scores of one part: scores [D], ranks [D], oks [M], ignored [T]."""
    # equal ones stay image by image, the best of an image first, as the official ones come
    order = np.lexsort((ranks, detections.image, -scores))
    order = order[ranks[order] >= 0]
    some, curves = candidates(pairs, oks, ranks), []
    for area in _AREAS:
        aside = ignored | _outside(truth.areas, area)
        person = match(some, aside, truth.crowd, len(ranks))[:, order]  # [10, D]
        hit = person >= 0
        lost_aside = _outside(detections.areas[order], area)
        counts = ~np.where(hit, np.r_[aside, False][person], lost_aside)
        curves.append(precision_recall(hit & counts, ~hit & counts, int((~aside).sum())))
    (ap, ar), (ap_medium, ar_medium), (ap_large, ar_large) = curves
    precision = ap.mean(), ap[0], ap[_AT_75], ap_medium.mean(), ap_large.mean()
    recall = ar.mean(), ar[0], ar[_AT_75], ar_medium.mean(), ar_large.mean()
    return Scores(*map(float, precision + recall))


def precision_recall(
    right: np.ndarray, wrong: np.ndarray, people: int
) -> tuple[np.ndarray, np.ndarray]:
    """Precision averaged over recall, and the recall reached, at each threshold.

    Args:
        right: [10, D] bool, detections that found somebody, by falling score.
        wrong: [10, D] bool, those that found nobody.
        people: the number of people to be found.

    Returns:
        Two arrays [10]; -1 where nobody is to be found.
    """
    rows = len(right)
    if people == 0:
        return np.full(rows, -1.0), np.full(rows, -1.0)
    hits, misses = np.cumsum(right, 1), np.cumsum(wrong, 1)  # [10, D]
    precision = hits / (hits + misses + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]  # at this recall or a higher one
    # the hits that a recall needs are whole numbers, so one search serves all rows, each lifted
    # above the one before
    needed = np.searchsorted(np.arange(people + 1) / people, _RECALLS)
    lift = np.arange(rows)[:, None] * (people + 1)
    where = np.searchsorted((hits + lift).ravel(), (needed + lift).ravel()).reshape(rows, -1)
    where -= np.arange(rows)[:, None] * right.shape[1]
    best = np.c_[best, np.zeros(rows)]  # a recall that is never reached has precision 0
    return np.take_along_axis(best, where, 1).mean(1), right.sum(1) / people


def _outside(areas: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Whether areas are out of bounds; both bounds are inside."""
    return (areas < bounds[0]) | (areas > bounds[1])


def _mean(left: Scores, right: Scores) -> Scores:
    """Mean of each number, of those that are there."""
    both = np.array([left, right])
    there = both >= 0
    mean = (both * there).sum(0) / there.sum(0).clip(1)
    return Scores(*np.where(there.any(0), mean, -1.0).tolist())
