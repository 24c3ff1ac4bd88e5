"""This file shows to people what a data set has."""

import math
from collections.abc import Mapping

from rich.table import Table

from tagpose.data.quality.dataset_statistics import DatasetStatistics, PartStatistics
from tagpose.structures import LARGE_AREA, MEDIUM_AREA


def format_overview(coverage: DatasetStatistics, title: str) -> Table:
    """One row per number of the whole data set."""
    table = Table("", title=title)
    table.add_column("number", justify="right")
    medium, large = (math.isqrt(int(area)) for area in (MEDIUM_AREA, LARGE_AREA))
    for name, value in (
        ("images", coverage.images),
        ("images without people", coverage.empty),
        ("people", coverage.people),
        ("people without any labelled keypoint", coverage.without_keypoints),
        (f"people below {medium} x {medium} pixels: small", coverage.small),
        (f"people below {large} x {large} pixels: medium", coverage.medium),
        ("people above: large", coverage.large),
        ("crowds", coverage.crowds),
        ("image width in pixels", _format_range(coverage.widths)),
        ("image height in pixels", _format_range(coverage.heights)),
    ):
        table.add_row(name, str(value))
    return table


def _format_range(bounds: tuple[int, int]) -> str:
    """Two bounds, or one number where they are the same."""
    low, high = bounds
    return str(low) if low == high else f"{low} to {high}"


def format_parts(parts: Mapping[str, PartStatistics]) -> Table:
    """One row per part: how many people have a label there, and how many labels there are."""
    table = Table("part", title="people with and without a label of a part")
    for column in ("with", "without", "labelled keypoints"):
        table.add_column(column, justify="right")
    for part, (labelled, unlabelled, keypoints, _) in parts.items():
        table.add_row(part, str(labelled), str(unlabelled), str(keypoints))
    return table


def format_visibilities(parts: Mapping[str, PartStatistics]) -> Table:
    """One row per part: its keypoints by their v, which is labelled above 0."""
    table = Table("part", title="keypoints by their v")
    for column in ("0", "0 to 1", "1", "1 to 2", "2"):
        table.add_column(column, justify="right")
    for part, coverage in parts.items():
        table.add_row(part, *map(str, coverage.values))
    return table
