"""This file shows scores to people and to programs."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.table import Table

from tagpose.evaluation.part_ap import Scores
from tagpose.evaluation.published import Difference

# in the order of the papers' tables
_TITLES: Final = {
    "body": "body",
    "foot": "foot",
    "face": "face",
    "lefthand": "left hand",
    "righthand": "right hand",
    "hand": "hand",
    "wholebody": "whole",
}
_COLUMNS: Final = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR"}


def table(scores: Mapping[str, Scores], title: str) -> Table:
    """One row per part, the four numbers that papers print; "-" where the truth has nobody."""
    result = Table("part", title=title)
    for column in _COLUMNS.values():
        result.add_column(column, justify="right")
    for part in (*(p for p in _TITLES if p in scores), *(p for p in scores if p not in _TITLES)):
        shown = [getattr(scores[part], number) for number in _COLUMNS]
        name = _TITLES.get(part, part)
        result.add_row(name, *("-" if value < 0 else f"{value:.3f}" for value in shown))
    return result


def comparison(differences: Sequence[Difference], title: str) -> Table:
    """One row per part: what was published, what is ours, and how far apart the two are."""
    result = Table("part", "", title=title)
    for column in ("published", "ours", "difference"):
        result.add_column(column, justify="right")
    for part, number, published, ours in differences:
        shown = (f"{published:.3f}", f"{ours:.3f}", f"{ours - published:+.3f}")
        result.add_row(_TITLES[part], number.upper(), *shown)
    return result


def numbers(scores: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """All numbers by part, for JSON."""
    return {part: some._asdict() for part, some in scores.items()}
