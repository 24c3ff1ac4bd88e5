"""This file reads a result file and finds out all that a page says of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import from_coco_results, read_extras, read_results
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.image_ids import match_image_ids
from tagpose.evaluation.keypoint_ap import (
    PairedDetections,
    PartScores,
    compute_part_curves,
    pair_with_ground_truth,
    summarize_curves,
)
from tagpose.evaluation.precision_recall import PrecisionRecallCurves
from tagpose.report.keypoint_errors import ImageErrors, classify_keypoints, image_errors
from tagpose.report.person_matches import PersonMatches, find_best_f1_score, match_people
from tagpose.skeletons.skeleton import Skeleton

# what programs call such a file, and what the page calls the ground truth
_GENERIC_STEMS: Final = ("results", "ground_truth")


class AnalyzedResults(NamedTuple):
    """A result file, held against the ground truth."""

    name: str  # in the page
    file: Path
    paired: PairedDetections
    curves: dict[str, dict[str, PrecisionRecallCurves]]  # by part and size
    scores: dict[str, PartScores]  # by part
    min_score: float  # people below take no part in what follows
    balanced: bool  # whether that is where precision and recall balance best
    matches: PersonMatches
    kinds: np.ndarray  # [F, K] int8 of the keypoints of those found
    errors: ImageErrors


def name_results(files: Sequence[Path]) -> list[str]:
    """A name for each result file: its own, with that of its folder where it says too little."""
    stems = Counter(file.stem for file in files)
    return [
        f"{file.absolute().parent.name}/{file.stem}"
        if file.stem in _GENERIC_STEMS or stems[file.stem] > 1
        else file.stem
        for file in files
    ]


def analyze_results(
    name: str,
    file: Path,
    ground_truth: GroundTruth,
    skeleton: Skeleton,
    *,
    min_score: float | None = None,
) -> AnalyzedResults:
    """Read a result file and compare it.

    Args:
        name: of the file in the page.
        file: in the official format.
        ground_truth: of all images that count.
        skeleton: of both.
        min_score: people below are left out of the errors; AP counts them all the same. By default
            it is `find_best_f1_score`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no result file of that skeleton and those images.
    """
    rows = match_image_ids(read_results(file), ground_truth, file)
    paired = pair_with_ground_truth(
        ground_truth, from_coco_results(rows, skeleton), skeleton, read_extras(rows, skeleton)
    )
    curves = compute_part_curves(ground_truth, paired, skeleton)
    least = find_best_f1_score(ground_truth, paired, skeleton) if min_score is None else min_score
    matches = match_people(ground_truth, paired, skeleton, least)
    kinds = classify_keypoints(ground_truth, paired.detections, matches, skeleton)
    return AnalyzedResults(
        name=name,
        file=file,
        paired=paired,
        curves=curves,
        scores=summarize_curves(curves),
        min_score=least,
        balanced=min_score is None,
        matches=matches,
        kinds=kinds,
        errors=image_errors(ground_truth, paired.detections, matches, kinds),
    )
