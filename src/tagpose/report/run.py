"""This file reads a result file and finds out all that a page says of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.claims import read_claims
from tagpose.evaluation.image_ids import match_image_ids
from tagpose.evaluation.part_ap import Compared, Scores, compare, part_curves, scores_of
from tagpose.evaluation.precision import Curves
from tagpose.evaluation.rows import from_rows, read_rows
from tagpose.evaluation.truth import Truth
from tagpose.report.errors import keypoint_kinds
from tagpose.report.images import ImageErrors, image_errors
from tagpose.report.matches import Matches, balanced_score, match_people
from tagpose.skeleton import Skeleton

# what programs call such a file, and what the page calls the truth
_GENERIC: Final = ("results", "truth")


class Run(NamedTuple):
    """A result file, held against the truth."""

    name: str  # in the page
    file: Path
    compared: Compared
    curves: dict[str, dict[str, Curves]]  # by part and size
    scores: dict[str, Scores]  # by part
    min_score: float  # people below take no part in what follows
    balanced: bool  # whether that is where precision and recall balance best
    matches: Matches
    kinds: np.ndarray  # [F, K] int8 of the keypoints of those found
    errors: ImageErrors


def name_runs(files: Sequence[Path]) -> list[str]:
    """A name for each result file: its own, with that of its folder where it says too little."""
    stems = Counter(file.stem for file in files)
    return [
        f"{file.absolute().parent.name}/{file.stem}"
        if file.stem in _GENERIC or stems[file.stem] > 1
        else file.stem
        for file in files
    ]


def read_run(
    name: str, file: Path, truth: Truth, skeleton: Skeleton, *, min_score: float | None = None
) -> Run:
    """Read a result file and compare it.

    Args:
        name: of the file in the page.
        file: in the official format.
        truth: of all images that count.
        skeleton: of both.
        min_score: people below are left out of the errors; AP counts them all the same. By default
            it is `balanced_score`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no result file of that skeleton and those images.
    """
    rows = match_image_ids(read_rows(file), truth, file)
    compared = compare(truth, from_rows(rows, skeleton), skeleton, read_claims(rows, skeleton))
    curves = part_curves(truth, compared, skeleton)
    least = balanced_score(truth, compared, skeleton) if min_score is None else min_score
    matches = match_people(truth, compared, skeleton, least)
    kinds = keypoint_kinds(truth, compared.detections, matches, skeleton)
    return Run(
        name=name,
        file=file,
        compared=compared,
        curves=curves,
        scores=scores_of(curves),
        min_score=least,
        balanced=min_score is None,
        matches=matches,
        kinds=kinds,
        errors=image_errors(truth, compared.detections, matches, kinds),
    )
