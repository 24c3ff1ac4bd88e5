"""This file lays numbers into tables of words."""

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
_COMPARED_SCORES: Final = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "AR": "ar",
}  # as `PartScores` has them
_BY_SIZE: Final = ("ap", "ap_medium", "ap_large", "ar", "ar_medium", "ar_large")


class TextTable(NamedTuple):
    """A table of words; the first column names its rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    groups: Sequence[tuple[str, int]] = ()  # over the head: a word and how many columns it spans


def headline(
    run: AnalyzedResults, ground_truth: GroundTruth, skeleton: Skeleton
) -> list[tuple[str, str]]:
    """What one wants to know first, and how much it is."""
    part = list(skeleton.parts)[-1]  # of all keypoints together
    name, matches = part_titles(run.scores)[part], run.matches
    people, found = int((~run.paired.ignored[:, -1]).sum()), len(matches.person)
    good = count_error_types(run.kinds, skeleton)[part]
    return [
        (f"AP, {name}", _number(run.scores[part].ap)),
        (f"AR, {name}", _number(run.scores[part].ar)),
        ("images", _count(len(ground_truth.image_ids))),
        (f"of {_count(people)} people found", _count(found)),
        ("false people", _count(int(matches.false.sum()))),
        ("of their keypoints good", f"{good[ErrorType.GOOD] / good.sum().clip(1):.1%}"),
    ]


def describe_score_limit(run: AnalyzedResults) -> str:
    """Whose matches are counted, and how many people are not."""
    ranked = int((run.paired.detections.ranks[-1] >= 0).sum())
    below = ranked - int(run.matches.counted.sum())
    others = f"; the {_count(below)} below count in AP alone" if below else ""
    return f"people {_score_limit(run.min_score, balanced=run.balanced)}{others}"


def score_text_table(scores: Mapping[str, PartScores]) -> TextTable:
    """The table that is printed elsewhere."""
    printed = score_table(scores, "")
    head = [str(column.header) for column in printed.columns]
    cells = [[str(cell) for cell in column.cells] for column in printed.columns]
    return TextTable(head, list(zip(*cells, strict=True)))


def size_table(run: AnalyzedResults, ground_truth: GroundTruth, skeleton: Skeleton) -> TextTable:
    """AP, AR and the number of people by part, and by size of the person."""
    ignored = dict(zip(skeleton.parts, run.paired.ignored.T, strict=True))
    inside = [~outside_area_range(ground_truth.areas, size) for size in AREA_RANGES]
    rows = []
    for part, name in part_titles(run.scores).items():
        numbers = [_number(getattr(run.scores[part], key)) for key in _BY_SIZE]
        # both hands are scored from the two, but are no part with people of its own
        counts = [NOT_AVAILABLE] * len(inside)
        if part in ignored:
            counts = [_count(int((~ignored[part] & some).sum())) for some in inside]
        rows.append([name, *numbers, *counts])
    groups = [("", 1), ("AP", 3), ("AR", 3), ("people annotated", 3)]
    return TextTable(["part", *3 * list(AREA_RANGES)], rows, groups)


def people_table(run: AnalyzedResults, ground_truth: GroundTruth) -> TextTable:
    """Who was found and who was not, by size of the person."""
    areas, found = ground_truth.areas, run.paired.detections.areas
    counted = ~run.paired.ignored[:, -1]
    rows = []
    for size in AREA_RANGES:
        there = counted & ~outside_area_range(areas, size)
        people, missed = int(there.sum()), int((run.matches.missed & there).sum())
        false = int((run.matches.false & ~outside_area_range(found, size)).sum())
        shares = (_count_and_share(number, people) for number in (people - missed, missed))
        rows.append([size, _count(people), *shares, _count(false)])
    return TextTable(["size", "annotated", "found", "missed", "false"], rows)


def error_table(run: AnalyzedResults, skeleton: Skeleton) -> TextTable:
    """How many keypoints of each part are of each kind."""
    tallies, rows = count_error_types(run.kinds, skeleton), []
    for part, name in part_titles(run.scores).items():
        if part in tallies:
            total = int(tallies[part].sum())
            cells = [_count_and_share(count, total) for count in tallies[part].tolist()]
            if not has_flip_pairs(part, skeleton):
                cells[ErrorType.INVERSION] = NOT_AVAILABLE
            rows.append([name, _count(total), *cells])
    return TextTable(["part", "keypoints", *(kind.name.lower() for kind in ErrorType)], rows)


def comparison_table(one: AnalyzedResults, other: AnalyzedResults) -> TextTable:
    """The scores of two runs and how far the first is above the second."""
    rows = []
    for part, name in part_titles(one.scores).items():
        cells = []
        for key in _COMPARED_SCORES.values():
            a, b = getattr(one.scores[part], key), getattr(other.scores[part], key)
            cells += [_number(a), _number(b), NOT_AVAILABLE if a < 0 else _signed(a - b)]
        rows.append([name, *cells])
    head = ["part", *len(_COMPARED_SCORES) * [one.name, other.name, "gain"]]
    return TextTable(head, rows, [("", 1), *((number, 3) for number in _COMPARED_SCORES)])


def _score_limit(score: float, *, balanced: bool) -> str:
    """From which score on people are counted, and why."""
    if score == -math.inf:
        return "of any score" + (", as none of them is right" if balanced else "")
    why = "where precision and recall balance best" if balanced else "as asked for"
    return f"from a score of {score:.3g} on, {why}"


def _number(value: float) -> str:
    """A score; nothing where nobody is to be found."""
    return NOT_AVAILABLE if value < 0 else f"{value:.3f}"


def _count(number: int) -> str:
    """A number in groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")


def _count_and_share(number: int, total: int) -> str:
    """A number and what share of the total it is."""
    return f"{_count(number)} ({number / total:.1%})" if total else _count(number)


def _signed(difference: float) -> str:
    """A difference with its sign, three digits behind the point."""
    shown = f"{difference:+.3f}"
    return shown[1:] if float(shown) == 0 else shown
