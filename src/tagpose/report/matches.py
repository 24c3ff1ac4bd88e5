"""This file says who found whom when only the errors count: everybody who is found at all."""

import math
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.matching import candidates, match
from tagpose.evaluation.oks import labelled_parts
from tagpose.evaluation.part_ap import Compared
from tagpose.evaluation.truth import Truth
from tagpose.skeleton import Skeleton

LEAST: Final = 0.1  # OKS of a person who counts as found (Ruggero Ronchi & Perona 2017)


class Matches(NamedTuple):
    """F people who were found, those who were not, and those who are not there."""

    detection: np.ndarray  # [F] int64, rising
    person: np.ndarray  # [F] int64
    oks: np.ndarray  # [F] float64, as `person_oks` has it
    shown: np.ndarray  # [D] bool: detections that take part
    missed: np.ndarray  # [T] bool: people whom nobody found
    false: np.ndarray  # [D] bool: detections that found nobody


def match_people(
    truth: Truth, compared: Compared, skeleton: Skeleton, min_score: float = -math.inf
) -> Matches:
    """Who found whom, chosen as in the official evaluation but from OKS .1 on.

    Args:
        truth: of T people.
        compared: D detections held against that truth.
        skeleton: of both.
        min_score: detections below take no part.
    """
    found, ignored = compared.detections, compared.ignored[:, -1]  # of all keypoints together
    ranks = np.where(found.scores[-1] >= min_score, found.ranks[-1], -1)
    oks = person_oks(truth, compared, skeleton)
    some = candidates(compared.pairs, oks, ranks, np.array([LEAST]))
    (whom,) = match(some, ignored, truth.crowd, len(ranks))  # [D]
    detection = np.flatnonzero((whom >= 0) & ~np.r_[ignored, True][whom])
    person = whom[detection]
    missed = ~ignored
    missed[person] = False
    reached = _of_pairs(compared, oks, detection, person)
    return Matches(detection, person, reached, ranks >= 0, missed, (ranks >= 0) & (whom < 0))


def person_oks(truth: Truth, compared: Compared, skeleton: Skeleton) -> np.ndarray:
    """How similar the two people of each pair are as people, [M] float64.

    It is the mean of OKS over the person's labelled parts. The mean over all keypoints is that of
    the face and the hands, whatever the body is like: they have 110 of 133.
    """
    limbs = len(skeleton.limbs)
    labelled = labelled_parts(truth, skeleton)[:, :limbs]  # [T, limbs]
    counts = labelled.sum(1)  # [T]
    weights = labelled / counts[:, None].clip(1)
    mean = np.einsum("ml,ml->m", compared.oks[:, :limbs], weights[compared.pairs.person])
    # whoever has no label is there to ignore detections, as in the official evaluation
    return np.where(counts[compared.pairs.person] == 0, compared.oks[:, -1], mean)


def _of_pairs(
    compared: Compared, values: np.ndarray, detection: np.ndarray, person: np.ndarray
) -> np.ndarray:
    """Values [M] of the pairs of F detections, rising, and people: [F]."""
    pairs = compared.pairs
    first = np.searchsorted(pairs.detection, detection)
    # the pairs of a detection are its image's people, in their order
    return values[first + person - pairs.person[first]]
