"""Tables of the statistics of a dataset."""

import math
from collections.abc import Mapping

import numpy as np
from rich.table import Table

from tagpose.data.quality.dataset_statistics import (
    MIN_SIZE,
    DatasetStatistics,
    PartSizes,
    PartStatistics,
)
from tagpose.structures import LARGE_AREA, MEDIUM_AREA


def format_overview(coverage: DatasetStatistics, title: str) -> Table:
    """Return a table of the statistics of the whole dataset."""
    table = Table("", title=title)
    table.add_column("count", justify="right")
    medium, large = (math.isqrt(int(area)) for area in (MEDIUM_AREA, LARGE_AREA))
    for name, value in (
        ("images", coverage.images),
        ("images without people", coverage.empty),
        ("people", coverage.people),
        ("people without labeled keypoints", coverage.without_keypoints),
        (f"small people (below {medium} x {medium} pixels)", coverage.small),
        (f"medium people (below {large} x {large} pixels)", coverage.medium),
        ("large people", coverage.large),
        ("crowds", coverage.crowds),
        ("image width in pixels", _format_range(coverage.widths)),
        ("image height in pixels", _format_range(coverage.heights)),
    ):
        table.add_row(name, str(value))
    return table


def format_parts(parts: Mapping[str, PartStatistics]) -> Table:
    """Return a table of labeled people and keypoints by part."""
    table = Table("part", title="people with labels by part")
    for column in ("labeled", "unlabeled", "labeled keypoints"):
        table.add_column(column, justify="right")
    for part, (labeled, unlabeled, keypoints, _) in parts.items():
        table.add_row(part, str(labeled), str(unlabeled), str(keypoints))
    return table


def format_visibilities(parts: Mapping[str, PartStatistics]) -> Table:
    """Return a table of keypoints by part and visibility v; v > 0 is labeled."""
    table = Table("part", title="keypoints by visibility v")
    for column in ("0", "0 to 1", "1", "1 to 2", "2"):
        table.add_column(column, justify="right")
    for part, statistics in parts.items():
        table.add_row(part, *map(str, statistics.values))
    return table


def format_part_sizes(parts: Mapping[str, PartSizes], input_size: int, stride: int) -> Table:
    """Return a table of the sizes in image and heatmap pixels.

    Args:
        parts: sizes by part.
        input_size: shorter side of the input in input pixels.
        stride: input pixels per heatmap pixel.
    """
    table = Table("part", title=f"longer sides at input_size={input_size}, stride={stride}")
    small = f"below {MIN_SIZE:g} heatmap pixels"
    for column in ("count", "median in image pixels", "in heatmap pixels", small):
        table.add_column(column, justify="right")
    for part, sizes in parts.items():
        count, too_small = len(sizes.sizes), sizes.too_small(input_size, stride)
        if not count:
            table.add_row(part, "0", "-", "-", "-")
            continue
        image, heatmap = np.median(sizes.sizes), np.median(sizes.in_heatmap(input_size, stride))
        share = f"{too_small} ({too_small / count:.0%})"
        table.add_row(part, str(count), f"{image:.0f}", f"{heatmap:.1f}", share)
    return table


def _format_range(bounds: tuple[int, int]) -> str:
    """Format two bounds, or one number if they are equal."""
    low, high = bounds
    return str(low) if low == high else f"{low} to {high}"
