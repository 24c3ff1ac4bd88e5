"""Greedy matching of detections and ground-truth people at each OKS threshold."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import NO_EXTRAS, ResultExtras
from tagpose.evaluation.detections import MAX_DETECTIONS, Detections, build_detections
from tagpose.evaluation.ground_truth import GroundTruth, labeled_parts
from tagpose.evaluation.oks import Pairs, compute_oks, pair_by_image
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

# linspace as in pycocotools, because arange does not yield exactly .75
OKS_THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)


class CandidatePairs(NamedTuple):
    """M pairs of one part that may be matched, in matching order."""

    detection: np.ndarray  # [M] int64, the best detection of each image first
    person: np.ndarray  # [M] int64, the person of highest OKS of a detection first
    above_threshold: np.ndarray  # [thresholds, M] bool, whether the OKS reaches the threshold
    # [MAX_DETECTIONS + 1] int64, start of the pairs of all detections of rank n in their images
    rank_starts: np.ndarray


class PairedDetections(NamedTuple):
    """D detections in M pairs with ground-truth people of their image, before any threshold."""

    detections: Detections
    pairs: Pairs
    oks: np.ndarray  # [M, Q] float64
    ignored: np.ndarray  # [T, Q] bool, people that are neither true positives nor false negatives


def find_candidates(
    pairs: Pairs, oks: np.ndarray, ranks: np.ndarray, thresholds: np.ndarray = OKS_THRESHOLDS
) -> CandidatePairs:
    """Return the pairs of one part whose OKS reaches the lowest threshold, in matching order.

    Args:
        pairs: M pairs of detections and people.
        oks: [M] OKS of the pairs.
        ranks: [D] rank of each detection within its image; -1 if it is not evaluated.
        thresholds: OKS thresholds, increasing.
    """
    selected = np.flatnonzero(oks >= thresholds[0])
    selected = selected[ranks[pairs.detection[selected]] >= 0]
    detection, person, oks = pairs.detection[selected], pairs.person[selected], oks[selected]
    # of equal OKS the later annotation is preferred, as in the official loop
    order = np.lexsort((-person, -oks, detection, ranks[detection]))
    detection = detection[order]
    rank_starts = np.searchsorted(ranks[detection], np.arange(MAX_DETECTIONS + 1))
    return CandidatePairs(detection, person[order], oks[order] >= thresholds[:, None], rank_starts)


def match_greedily(
    candidates: CandidatePairs, ignored: np.ndarray, crowd: np.ndarray, count: int
) -> np.ndarray:
    """Match each detection to at most one person, in one part.

    Detections are matched by rank, those of the same rank in all images at once. Each is matched to
    the unmatched person of highest OKS above the threshold, and to an ignored person only if there
    is no other; crowds can be matched any number of times.

    Args:
        candidates: pairs of detections and people.
        ignored: [T] bool, people that count neither as true positives nor as false negatives.
        crowd: [T] bool.
        count: number D of detections.

    Returns:
        [thresholds, D] int64, the matched person at each threshold, or -1.
    """
    matched = np.full((len(candidates.above_threshold), count), -1)
    unmatched = np.ones((len(candidates.above_threshold), len(crowd)), bool)
    for begin, end in pairwise(candidates.rank_starts.tolist()):
        detection, person = candidates.detection[begin:end], candidates.person[begin:end]
        available = unmatched[:, person] | crowd[person]
        available &= candidates.above_threshold[:, begin:end]
        threshold, pair = _first_available_pair(available, detection, ignored[person])
        matched[threshold, detection[pair]] = person[pair]
        unmatched[threshold, person[pair]] = False
    return matched


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


def _first_available_pair(
    available: np.ndarray, detection: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return threshold and pair of the first available pair of each detection that has one.

    Args:
        available: [thresholds, M] bool, the preferred pair of a detection first.
        detection: [M] detection of each pair, grouped.
        ignored: [M] bool, pairs that come after all others of their detection.
    """
    size = len(detection)
    starts = np.flatnonzero(np.diff(detection, prepend=-1))
    priority = np.where(available, np.arange(size) + size * ignored, 2 * size)
    first = np.minimum.reduceat(priority, starts, axis=1)  # [thresholds, detections]
    threshold, column = np.nonzero(first < 2 * size)
    return threshold, first[threshold, column] % size
