"""This file shows scores to people and to programs."""

from collections.abc import Iterable, Mapping, Sequence
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


def part_titles(parts: Iterable[str]) -> dict[str, str]:
    """What parts are called in tables, in their order there: the papers', then one's own."""
    there = list(parts)
    known = {part: name for part, name in _TITLES.items() if part in there}
    return known | {part: part for part in there if part not in known}


def table(scores: Mapping[str, Scores], title: str) -> Table:
    """One row per part, the four numbers that papers print; "-" where the truth has nobody."""
    result = Table("part", title=title)
    for column in _COLUMNS.values():
        result.add_column(column, justify="right")
    for part, name in part_titles(scores).items():
        shown = [getattr(scores[part], number) for number in _COLUMNS]
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
