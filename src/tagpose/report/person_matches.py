"""This file says who found whom when only the errors count, and from which score on."""

import math
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.keypoint_ap import PairedDetections
from tagpose.evaluation.matching import OKS_THRESHOLDS, find_candidates, match_greedily
from tagpose.evaluation.oks import labeled_parts
from tagpose.skeletons.skeleton import Skeleton

MATCH_OKS: Final = 0.1  # OKS of a person who counts as found (Ruggero Ronchi & Perona 2017)
CORRECT_OKS: Final = float(
    OKS_THRESHOLDS[0]
)  # OKS of a person who counts as right where scores are weighed


class PersonMatches(NamedTuple):
    """F people who were found, those who were not, and those who are not there."""

    detection: np.ndarray  # [F] int64, rising
    person: np.ndarray  # [F] int64
    oks: np.ndarray  # [F] float64, as `person_oks` has it
    counted: np.ndarray  # [D] bool: detections that take part
    missed: np.ndarray  # [T] bool: people whom nobody found
    false: np.ndarray  # [D] bool: detections that found nobody


def match_people(
    ground_truth: GroundTruth,
    paired: PairedDetections,
    skeleton: Skeleton,
    min_score: float = -math.inf,
) -> PersonMatches:
    """Who found whom, chosen as in the official evaluation but from OKS .1 on.

    Args:
        ground_truth: of T people.
        paired: D detections held against that ground truth.
        skeleton: of both.
        min_score: detections below take no part.
    """
    found, ignored = paired.detections, paired.ignored[:, -1]  # of all keypoints together
    ranks = np.where(found.scores[-1] >= min_score, found.ranks[-1], -1)
    oks = person_oks(ground_truth, paired, skeleton)
    whom = _match_detections(ground_truth, paired, oks, ranks, MATCH_OKS)
    detection = np.flatnonzero((whom >= 0) & ~np.r_[ignored, True][whom])
    person = whom[detection]
    missed = ~ignored
    missed[person] = False
    reached = _values_of_pairs(paired, oks, detection, person)
    return PersonMatches(detection, person, reached, ranks >= 0, missed, (ranks >= 0) & (whom < 0))


def find_best_f1_score(
    ground_truth: GroundTruth, paired: PairedDetections, skeleton: Skeleton
) -> float:
    """The score from which on precision and recall balance best: F1 of people is largest.

    A detection is right if it found somebody at OKS .5. Arguments are those of `match_people`.

    Returns:
        The score of one of the detections, or minus infinity where none is right.
    """
    ranks, ignored = paired.detections.ranks[-1], paired.ignored[:, -1]
    oks = person_oks(ground_truth, paired, skeleton)
    whom = _match_detections(ground_truth, paired, oks, ranks, CORRECT_OKS)
    counting = np.flatnonzero((ranks >= 0) & ~np.r_[ignored, False][whom])
    scores = paired.detections.scores[-1, counting]
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], np.cumsum(whom[counting[order]] >= 0)
    if not right.any():
        return -math.inf
    f1 = 2 * right / (np.arange(1, len(right) + 1) + np.count_nonzero(~ignored))
    # those of one score take part together
    last = np.flatnonzero(np.diff(scores, append=-math.inf))
    return float(scores[last[np.argmax(f1[last])]])


def person_oks(
    ground_truth: GroundTruth, paired: PairedDetections, skeleton: Skeleton
) -> np.ndarray:
    """How similar the two people of each pair are as people, [M] float64.

    It is the mean of OKS over the person's labelled parts. The mean over all keypoints is that of
    the face and the hands, whatever the body is like: they have 110 of 133.
    """
    parts = len(skeleton.disjoint_parts)
    labelled = labeled_parts(ground_truth, skeleton)[:, :parts]  # [T, parts]
    counts = labelled.sum(1)  # [T]
    weights = labelled / counts[:, None].clip(1)
    mean = np.einsum("ml,ml->m", paired.oks[:, :parts], weights[paired.pairs.person])
    # whoever has no label is there to ignore detections, as in the official evaluation
    return np.where(counts[paired.pairs.person] == 0, paired.oks[:, -1], mean)


def _match_detections(
    ground_truth: GroundTruth,
    paired: PairedDetections,
    oks: np.ndarray,
    ranks: np.ndarray,
    least: float,
) -> np.ndarray:
    """Whom each detection found at that OKS, [D] int64, -1 for nobody."""
    some = find_candidates(paired.pairs, oks, ranks, np.array([least]))
    (whom,) = match_greedily(some, paired.ignored[:, -1], ground_truth.crowd, len(ranks))
    return whom


def _values_of_pairs(
    paired: PairedDetections, values: np.ndarray, detection: np.ndarray, person: np.ndarray
) -> np.ndarray:
    """Values [M] of the pairs of F detections, rising, and people: [F]."""
    pairs = paired.pairs
    first = np.searchsorted(pairs.detection, detection)
    # the pairs of a detection are its image's people, in their order
    return values[first + person - pairs.person[first]]
