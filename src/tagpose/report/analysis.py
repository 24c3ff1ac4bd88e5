"""Analysis of a COCO result file: scores, precision-recall curves, matches and keypoint errors."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import from_coco_results, read_extras
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.keypoint_ap import (
    PartScores,
    PrecisionRecallCurves,
    compute_part_curves,
    summarize_curves,
)
from tagpose.evaluation.matching import PairedDetections, pair_with_ground_truth
from tagpose.evaluation.openpose_results import read_matched_results
from tagpose.report.keypoint_errors import ImageErrors, classify_keypoints, count_image_errors
from tagpose.report.person_matches import PersonMatches, find_best_f1_score, match_people
from tagpose.skeletons.skeleton import Skeleton

# The default file name of results, and the report's name for the ground truth.
_GENERIC_STEMS: Final = ("results", "ground_truth")


class AnalyzedResults(NamedTuple):
    """Result file, compared with the ground truth."""

    name: str  # displayed name
    file: Path
    paired: PairedDetections
    curves: dict[str, dict[str, PrecisionRecallCurves]]  # by part and area range
    scores: dict[str, PartScores]  # by part
    min_score: float  # detections with lower scores are excluded from the following fields
    has_best_f1: bool  # whether `min_score` was selected for the highest F1 score
    matches: PersonMatches
    error_types: np.ndarray  # [F, K] int8, as returned by `classify_keypoints`
    errors: ImageErrors


def name_results(files: Sequence[Path]) -> list[str]:
    """Return a name for each run: the stem of its file, with the parent folder if not specific."""
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
    """Read a result file and compare it with the ground truth.

    Args:
        name: displayed name of the file.
        file: file in COCO's result format, or folder of OpenPose's JSON files.
        ground_truth: ground truth of all evaluated images.
        skeleton: skeleton of the results and the ground truth.
        min_score: detections with lower scores are excluded from the errors, but not from AP. By
            default the score of `find_best_f1_score`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a result file of this skeleton and these images.
    """
    results = read_matched_results(file, ground_truth, skeleton)
    predictions, extras = from_coco_results(results, skeleton), read_extras(results, skeleton)
    paired = pair_with_ground_truth(ground_truth, predictions, skeleton, extras)
    curves = compute_part_curves(ground_truth, paired, skeleton)
    has_best_f1 = min_score is None
    if min_score is None:
        min_score = find_best_f1_score(ground_truth, paired, skeleton)
    matches = match_people(ground_truth, paired, skeleton, min_score)
    error_types = classify_keypoints(ground_truth, paired.detections, matches, skeleton)
    return AnalyzedResults(
        name=name,
        file=file,
        paired=paired,
        curves=curves,
        scores=summarize_curves(curves),
        min_score=min_score,
        has_best_f1=has_best_f1,
        matches=matches,
        error_types=error_types,
        errors=count_image_errors(ground_truth, paired.detections, matches, error_types),
    )
