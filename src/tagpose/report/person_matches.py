"""Matching of detections to people for the error analysis, and the score with the highest F1.

Detections are matched as in the COCO evaluation, but at a lower OKS threshold, because the analysis
is about the errors of people who are roughly in the right position.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.ground_truth import GroundTruth, labeled_parts
from tagpose.evaluation.matching import (
    OKS_THRESHOLDS,
    PairedDetections,
    find_candidates,
    match_greedily,
)
from tagpose.skeletons.skeleton import Skeleton

MATCH_OKS: Final = 0.1  # threshold of a match in the error analysis (Ruggero Ronchi & Perona 2017)
CORRECT_OKS: Final = float(OKS_THRESHOLDS[0])  # threshold of a true positive for the F1 score


class PersonMatches(NamedTuple):
    """F matches between D detections and T people, missed people and false positives."""

    detection: np.ndarray  # [F] int64, ascending
    person: np.ndarray  # [F] int64
    oks: np.ndarray  # [F] float64, from `compute_person_oks`
    evaluated: np.ndarray  # [D] bool, detections that reach the score and are not surplus
    missed: np.ndarray  # [T] bool, people without a match
    false_positive: np.ndarray  # [D] bool, evaluated detections without a match


def match_people(
    ground_truth: GroundTruth,
    paired: PairedDetections,
    skeleton: Skeleton,
    min_score: float = -math.inf,
) -> PersonMatches:
    """Match detections to people as in the COCO evaluation, but at an OKS of 0.1.

    Args:
        ground_truth: ground truth of T people.
        paired: D detections, paired with that ground truth.
        skeleton: skeleton of both.
        min_score: detections with lower scores are excluded.
    """
    detections, ignored = paired.detections, paired.ignored[:, -1]  # -1: all keypoints
    ranks = np.where(detections.scores[-1] >= min_score, detections.ranks[-1], -1)
    oks = compute_person_oks(ground_truth, paired, skeleton)
    assigned = _match_detections(ground_truth, paired, oks, ranks, MATCH_OKS)
    detection = np.flatnonzero((assigned >= 0) & ~np.r_[ignored, True][assigned])
    person = assigned[detection]
    missed = ~ignored
    missed[person] = False
    evaluated = ranks >= 0
    return PersonMatches(
        detection=detection,
        person=person,
        oks=_select_pairs(paired, oks, detection, person),
        evaluated=evaluated,
        missed=missed,
        false_positive=evaluated & (assigned < 0),
    )


def find_best_f1_score(
    ground_truth: GroundTruth, paired: PairedDetections, skeleton: Skeleton
) -> float:
    """Return the score threshold with the highest F1 score of people at an OKS of 0.5.

    Arguments are those of `match_people`.

    Returns:
        The score of one of the detections, or -inf if there are no true positives.
    """
    ranks, ignored = paired.detections.ranks[-1], paired.ignored[:, -1]
    oks = compute_person_oks(ground_truth, paired, skeleton)
    assigned = _match_detections(ground_truth, paired, oks, ranks, CORRECT_OKS)
    evaluated = np.flatnonzero((ranks >= 0) & ~np.r_[ignored, False][assigned])
    scores = paired.detections.scores[-1, evaluated]
    order = np.argsort(-scores, kind="stable")
    scores, true_positives = scores[order], np.cumsum(assigned[evaluated[order]] >= 0)
    if not true_positives.any():
        return -math.inf
    f1 = 2 * true_positives / (np.arange(1, len(order) + 1) + np.count_nonzero(~ignored))
    # A threshold includes all detections with the same score.
    last = np.flatnonzero(np.diff(scores, append=-math.inf))
    return float(scores[last[np.argmax(f1[last])]])


def compute_person_oks(
    ground_truth: GroundTruth, paired: PairedDetections, skeleton: Skeleton
) -> np.ndarray:
    """Return the mean OKS over the person's labeled parts for each pair, [M] float64.

    The mean over keypoints would be dominated by face and hands, which have 110 of 133 keypoints,
    regardless of the body.
    """
    num_parts = len(skeleton.disjoint_parts)
    labeled = labeled_parts(ground_truth, skeleton)[:, :num_parts]  # [T, parts]
    counts = labeled.sum(1)  # [T]
    weights = labeled / counts[:, None].clip(1)
    mean = np.einsum("ml,ml->m", paired.oks[:, :num_parts], weights[paired.pairs.person])
    # People without labels only serve to ignore detections, as in the COCO evaluation.
    return np.where(counts[paired.pairs.person] == 0, paired.oks[:, -1], mean)


def _match_detections(
    ground_truth: GroundTruth,
    paired: PairedDetections,
    oks: np.ndarray,
    ranks: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """Return the person [D] int64 of each detection at this OKS threshold, -1 for none."""
    candidates = find_candidates(paired.pairs, oks, ranks, np.array([threshold]))
    (assigned,) = match_greedily(candidates, paired.ignored[:, -1], ground_truth.crowd, len(ranks))
    return assigned


def _select_pairs(
    paired: PairedDetections, values: np.ndarray, detection: np.ndarray, person: np.ndarray
) -> np.ndarray:
    """Select from values [M] of all pairs those of F detections, ascending, and their people."""
    pairs = paired.pairs
    first = np.searchsorted(pairs.detection, detection)
    # A detection is paired with all people of its image in order.
    return values[first + person - pairs.person[first]]
