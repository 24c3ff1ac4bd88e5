"""Tables of the report, with numbers formatted as text."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.keypoint_ap import AREA_RANGES, PartScores, outside_area_range
from tagpose.evaluation.score_tables import part_titles, score_table
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.keypoint_errors import ErrorType, count_error_types, has_flip_pairs
from tagpose.skeletons.skeleton import Skeleton

NOT_AVAILABLE: Final = "-"  # as in the printed table
_COMPARED_SCORES: Final = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "AR": "ar"}  # `PartScores`
_SCORES_BY_SIZE: Final = ("ap", "ap_medium", "ap_large", "ar", "ar_medium", "ar_large")


class TextTable(NamedTuple):
    """Table of text cells whose first column contains the row headings."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    groups: Sequence[tuple[str, int]] = ()  # group headings above the head, and their columns


def headline(
    run: AnalyzedResults, ground_truth: GroundTruth, skeleton: Skeleton
) -> list[tuple[str, str]]:
    """Return name and value of the most important numbers."""
    part = list(skeleton.parts)[-1]  # all keypoints
    name, matches = part_titles(run.scores)[part], run.matches
    num_people, num_matched = int((~run.paired.ignored[:, -1]).sum()), len(matches.person)
    counts = count_error_types(run.error_types, skeleton)[part]
    return [
        (f"AP, {name}", _format_score(run.scores[part].ap)),
        (f"AR, {name}", _format_score(run.scores[part].ar)),
        ("images", _format_count(len(ground_truth.image_ids))),
        (f"of {_format_count(num_people)} people matched", _format_count(num_matched)),
        ("false positives", _format_count(int(matches.false_positive.sum()))),
        ("good keypoints", f"{counts[ErrorType.GOOD] / counts.sum().clip(1):.1%}"),
    ]


def describe_score_limit(run: AnalyzedResults) -> str:
    """Describe which predictions are analyzed, and how many are excluded."""
    num_ranked = int((run.paired.detections.ranks[-1] >= 0).sum())
    num_excluded = num_ranked - int(run.matches.evaluated.sum())
    if run.min_score == -math.inf:
        reason = ", because there are no true positives" if run.has_best_f1 else ""
        limit = f"predictions with any score{reason}"
    else:
        reason = "the highest F1 score" if run.has_best_f1 else "as configured"
        limit = f"predictions with a score of at least {run.min_score:.3g} ({reason})"
    excluded = f"; the other {_format_count(num_excluded)} only contribute to AP"
    return limit + (excluded if num_excluded else "")


def score_text_table(scores: Mapping[str, PartScores]) -> TextTable:
    """Return the table of `score_table`."""
    printed = score_table(scores, "")
    head = [str(column.header) for column in printed.columns]
    cells = [[str(cell) for cell in column.cells] for column in printed.columns]
    return TextTable(head, list(zip(*cells, strict=True)))


def size_table(run: AnalyzedResults, ground_truth: GroundTruth, skeleton: Skeleton) -> TextTable:
    """Return AP, AR and number of people by part and area range."""
    ignored = dict(zip(skeleton.parts, run.paired.ignored.T, strict=True))
    in_range = [~outside_area_range(ground_truth.areas, size) for size in AREA_RANGES]
    rows = []
    for part, name in part_titles(run.scores).items():
        scores = [_format_score(getattr(run.scores[part], key)) for key in _SCORES_BY_SIZE]
        # "hand" is the mean of left and right hand and has no people.
        counts = [NOT_AVAILABLE] * len(in_range)
        if part in ignored:
            counts = [_format_count(int((~ignored[part] & mask).sum())) for mask in in_range]
        rows.append([name, *scores, *counts])
    groups = [("", 1), ("AP", 3), ("AR", 3), ("annotated people", 3)]
    return TextTable(["part", *3 * list(AREA_RANGES)], rows, groups)


def people_table(run: AnalyzedResults, ground_truth: GroundTruth) -> TextTable:
    """Return the numbers of matched and missed people and false positives by area range."""
    areas, detected_areas = ground_truth.areas, run.paired.detections.areas
    not_ignored = ~run.paired.ignored[:, -1]
    rows = []
    for size in AREA_RANGES:
        in_range = not_ignored & ~outside_area_range(areas, size)
        total, missed = int(in_range.sum()), int((run.matches.missed & in_range).sum())
        is_false_positive = run.matches.false_positive & ~outside_area_range(detected_areas, size)
        cells = (_format_fraction(count, total) for count in (total - missed, missed))
        rows.append(
            [size, _format_count(total), *cells, _format_count(int(is_false_positive.sum()))]
        )
    return TextTable(["size", "annotated", "matched", "missed", "false positives"], rows)


def error_table(run: AnalyzedResults, skeleton: Skeleton) -> TextTable:
    """Return the number of keypoints by part and error type."""
    counts, rows = count_error_types(run.error_types, skeleton), []
    for part, name in part_titles(run.scores).items():
        if part in counts:
            total = int(counts[part].sum())
            cells = [_format_fraction(count, total) for count in counts[part].tolist()]
            if not has_flip_pairs(part, skeleton):
                cells[ErrorType.INVERSION] = NOT_AVAILABLE
            rows.append([name, _format_count(total), *cells])
    return TextTable(["part", "keypoints", *(kind.name.lower() for kind in ErrorType)], rows)


def run_comparison_table(run: AnalyzedResults, other: AnalyzedResults) -> TextTable:
    """Return the scores of two runs and the differences of the first from the second."""
    rows = []
    for part, name in part_titles(run.scores).items():
        cells = []
        for key in _COMPARED_SCORES.values():
            a, b = getattr(run.scores[part], key), getattr(other.scores[part], key)
            difference = NOT_AVAILABLE if a < 0 else _format_difference(a - b)
            cells += [_format_score(a), _format_score(b), difference]
        rows.append([name, *cells])
    head = ["part", *len(_COMPARED_SCORES) * [run.name, other.name, "difference"]]
    return TextTable(head, rows, [("", 1), *((score, 3) for score in _COMPARED_SCORES)])


def _format_score(value: float) -> str:
    """Format a score; negative values mean that the ground truth has no people."""
    return NOT_AVAILABLE if value < 0 else f"{value:.3f}"


def _format_count(number: int) -> str:
    """Format a number in groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")


def _format_fraction(number: int, total: int) -> str:
    """Format a number with its percentage of the total."""
    return f"{_format_count(number)} ({number / total:.1%})" if total else _format_count(number)


def _format_difference(difference: float) -> str:
    """Format a difference with its sign, or without if it is rounded to 0."""
    text = f"{difference:+.3f}"
    return text[1:] if float(text) == 0 else text
