"""This file lays numbers into tables of words."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tagpose.evaluation.part_ap import SIZES, Scores, outside
from tagpose.evaluation.table import part_titles, table
from tagpose.evaluation.truth import Truth
from tagpose.report.errors import Kind, has_mirror_pairs, tally
from tagpose.report.run import Run
from tagpose.skeleton import Skeleton

NOTHING: Final = "-"  # as in the printed table
_COMPARED: Final = {"AP": "ap", "AP50": "ap50", "AP75": "ap75", "AR": "ar"}  # as `Scores` has them
_BY_SIZE: Final = ("ap", "ap_medium", "ap_large", "ar", "ar_medium", "ar_large")


class Grid(NamedTuple):
    """A table of words; the first column names its rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    groups: Sequence[tuple[str, int]] = ()  # over the head: a word and how many columns it spans


def headline(run: Run, truth: Truth, skeleton: Skeleton) -> list[tuple[str, str]]:
    """What one wants to know first, and how much it is."""
    part = list(skeleton.parts)[-1]  # of all keypoints together
    name, matches = part_titles(run.scores)[part], run.matches
    people, found = int((~run.compared.ignored[:, -1]).sum()), len(matches.person)
    good = tally(run.kinds, skeleton)[part]
    return [
        (f"AP, {name}", _number(run.scores[part].ap)),
        (f"AR, {name}", _number(run.scores[part].ar)),
        ("images", _count(len(truth.image_ids))),
        (f"of {_count(people)} people found", _count(found)),
        ("false people", _count(int(matches.false.sum()))),
        ("of their keypoints good", f"{good[Kind.GOOD] / good.sum().clip(1):.1%}"),
    ]


def whom_counted(run: Run) -> str:
    """Whose matches are counted, and how many people are not."""
    ranked = int((run.compared.detections.ranks[-1] >= 0).sum())
    below = ranked - int(run.matches.shown.sum())
    others = f"; the {_count(below)} below count in AP alone" if below else ""
    return f"people {_from_score(run.min_score, balanced=run.balanced)}{others}"


def score_grid(scores: Mapping[str, Scores]) -> Grid:
    """The table that is printed elsewhere."""
    printed = table(scores, "")
    head = [str(column.header) for column in printed.columns]
    cells = [[str(cell) for cell in column.cells] for column in printed.columns]
    return Grid(head, list(zip(*cells, strict=True)))


def size_grid(run: Run, truth: Truth, skeleton: Skeleton) -> Grid:
    """AP, AR and the number of people by part, and by size of the person."""
    ignored = dict(zip(skeleton.parts, run.compared.ignored.T, strict=True))
    inside = [~outside(truth.areas, size) for size in SIZES]
    rows = []
    for part, name in part_titles(run.scores).items():
        numbers = [_number(getattr(run.scores[part], key)) for key in _BY_SIZE]
        # both hands are scored from the two, but are no part with people of its own
        counts = [NOTHING] * len(inside)
        if part in ignored:
            counts = [_count(int((~ignored[part] & some).sum())) for some in inside]
        rows.append([name, *numbers, *counts])
    groups = [("", 1), ("AP", 3), ("AR", 3), ("people annotated", 3)]
    return Grid(["part", *3 * list(SIZES)], rows, groups)


def people_grid(run: Run, truth: Truth) -> Grid:
    """Who was found and who was not, by size of the person."""
    areas, found = truth.areas, run.compared.detections.areas
    counted = ~run.compared.ignored[:, -1]
    rows = []
    for size in SIZES:
        there = counted & ~outside(areas, size)
        people, missed = int(there.sum()), int((run.matches.missed & there).sum())
        false = int((run.matches.false & ~outside(found, size)).sum())
        shares = (_shared(number, people) for number in (people - missed, missed))
        rows.append([size, _count(people), *shares, _count(false)])
    return Grid(["size", "annotated", "found", "missed", "false"], rows)


def error_grid(run: Run, skeleton: Skeleton) -> Grid:
    """How many keypoints of each part are of each kind."""
    tallies, rows = tally(run.kinds, skeleton), []
    for part, name in part_titles(run.scores).items():
        if part in tallies:
            total = int(tallies[part].sum())
            cells = [_shared(count, total) for count in tallies[part].tolist()]
            if not has_mirror_pairs(part, skeleton):
                cells[Kind.INVERSION] = NOTHING
            rows.append([name, _count(total), *cells])
    return Grid(["part", "keypoints", *(kind.name.lower() for kind in Kind)], rows)


def difference_grid(one: Run, other: Run) -> Grid:
    """The scores of two runs and how far the first is above the second."""
    rows = []
    for part, name in part_titles(one.scores).items():
        cells = []
        for key in _COMPARED.values():
            a, b = getattr(one.scores[part], key), getattr(other.scores[part], key)
            cells += [_number(a), _number(b), NOTHING if a < 0 else _signed(a - b)]
        rows.append([name, *cells])
    head = ["part", *len(_COMPARED) * [one.name, other.name, "gain"]]
    return Grid(head, rows, [("", 1), *((number, 3) for number in _COMPARED)])


def _from_score(score: float, *, balanced: bool) -> str:
    """From which score on people are counted, and why."""
    if score == -math.inf:
        return "of any score" + (", as none of them is right" if balanced else "")
    why = "where precision and recall balance best" if balanced else "as asked for"
    return f"from a score of {score:.3g} on, {why}"


def _number(value: float) -> str:
    """A score; nothing where nobody is to be found."""
    return NOTHING if value < 0 else f"{value:.3f}"


def _count(number: int) -> str:
    """A number in groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")


def _shared(number: int, total: int) -> str:
    """A number and what share of the total it is."""
    return f"{_count(number)} ({number / total:.1%})" if total else _count(number)


def _signed(difference: float) -> str:
    """A difference with its sign, three digits behind the point."""
    shown = f"{difference:+.3f}"
    return shown[1:] if float(shown) == 0 else shown
