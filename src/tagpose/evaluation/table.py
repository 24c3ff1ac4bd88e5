"""This file shows scores to people and to programs."""

from collections.abc import Mapping
from typing import Final

from rich.table import Table

from tagpose.evaluation.part_ap import Scores

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
    for part, name in _TITLES.items():
        if part in scores:
            shown = main_numbers(scores)[part].values()
            result.add_row(name, *("-" if value < 0 else f"{value:.3f}" for value in shown))
    return result


def main_numbers(scores: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """The numbers of the table, part -> number, for JSON."""
    return {part: {n: float(getattr(s, n)) for n in _COLUMNS} for part, s in scores.items()}
