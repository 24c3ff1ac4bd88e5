"""Tables of AP and AR per part, and of their differences from published results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.table import Table

from tagpose.evaluation.keypoint_ap import PartScores
from tagpose.evaluation.published_results import PublishedDifference

# in the order of the published tables
_PART_TITLES: Final = {
    "body": "body",
    "foot": "foot",
    "face": "face",
    "lefthand": "left hand",
    "righthand": "right hand",
    "hand": "hand",
    "wholebody": "whole",
}
_METRIC_TITLES: Final = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR"}


def part_titles(parts: Iterable[str]) -> dict[str, str]:
    """Return the titles of parts by name, in table order; parts of custom skeletons come last."""
    names = list(parts)
    known = {part: title for part, title in _PART_TITLES.items() if part in names}
    return known | {part: part for part in names if part not in known}


def score_table(scores: Mapping[str, PartScores], title: str) -> Table:
    """Return a table of AP, AP50, AP75 and AR per part; "-" without any ground truth."""
    table = Table("part", title=title)
    for column in _METRIC_TITLES.values():
        table.add_column(column, justify="right")
    for part, part_title in part_titles(scores).items():
        values = [getattr(scores[part], metric) for metric in _METRIC_TITLES]
        table.add_row(part_title, *("-" if value < 0 else f"{value:.3f}" for value in values))
    return table


def comparison_table(differences: Sequence[PublishedDifference], title: str) -> Table:
    """Return a table of published and measured numbers and their differences."""
    table = Table("part", "", title=title)
    titles = part_titles(difference.part for difference in differences)
    for column in ("published", "measured", "difference"):
        table.add_column(column, justify="right")
    for part, metric, published, measured in differences:
        values = f"{published:.3f}", f"{measured:.3f}", f"{measured - published:+.3f}"
        table.add_row(titles[part], metric.upper(), *values)
    return table
