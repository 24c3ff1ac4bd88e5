"""This file reads a result file and finds out all that a page says of it."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.evaluation.claims import read_claims
from tagpose.evaluation.part_ap import Compared, Scores, compare, part_curves, scores_of
from tagpose.evaluation.precision import Curves
from tagpose.evaluation.rows import from_rows, read_rows
from tagpose.evaluation.truth import Truth
from tagpose.report.errors import keypoint_kinds
from tagpose.report.images import ImageErrors, image_errors
from tagpose.report.matches import Matches, match_people
from tagpose.skeleton import Skeleton


class Run(NamedTuple):
    """A result file, held against the truth."""

    name: str  # in the page
    file: Path
    compared: Compared
    curves: dict[str, dict[str, Curves]]  # by part and size
    scores: dict[str, Scores]  # by part
    matches: Matches
    kinds: np.ndarray  # [F, K] int8 of the keypoints of those found
    errors: ImageErrors


def read_run(
    name: str, file: Path, truth: Truth, skeleton: Skeleton, *, min_score: float = -math.inf
) -> Run:
    """Read a result file and compare it.

    Args:
        name: of the file in the page.
        file: in the official format.
        truth: of all images that count.
        skeleton: of both.
        min_score: people below are left out of the errors; AP counts them all the same.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no result file of that skeleton and those images.
    """
    rows = read_rows(file)
    compared = compare(truth, from_rows(rows, skeleton), skeleton, read_claims(rows, skeleton))
    curves = part_curves(truth, compared, skeleton)
    matches = match_people(truth, compared, skeleton, min_score)
    kinds = keypoint_kinds(truth, compared.detections, matches, skeleton)
    errors = image_errors(truth, compared.detections, matches, kinds)
    return Run(name, file, compared, curves, scores_of(curves), matches, kinds, errors)
