"""Statistics of a dataset (people, labeled parts, sizes, visibilities), and their tables.

Annotations with an error are not counted.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from rich.table import Table

from tagpose.data.coco_file import CocoFile
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA


class VisibilityCounts(NamedTuple):
    """Numbers of keypoints by v, which may be a fraction for hands and faces."""

    zero: int
    below_one: int  # between 0 and 1
    one: int
    below_two: int  # between 1 and 2
    two: int


class PartStatistics(NamedTuple):
    """Statistics of one part over all people, without crowds."""

    labeled: int  # people with a keypoint of the part that has v > 0
    unlabeled: int  # people without one
    keypoints: int  # keypoints with v > 0
    values: VisibilityCounts


class DatasetStatistics(NamedTuple):
    """Statistics of a dataset."""

    images: int
    empty: int  # images without people; they may have a crowd
    people: int  # without crowds
    crowds: int
    without_keypoints: int  # people without v > 0, which the loss ignores
    small: int  # people with an area below 32 x 32 image pixels
    medium: int  # below 96 x 96
    large: int
    widths: tuple[int, int]  # smallest and largest image width in image pixels, 0 if unknown
    heights: tuple[int, int]
    parts: Mapping[str, PartStatistics]


def compute_statistics(coco: CocoFile, skeleton: Skeleton) -> DatasetStatistics:
    """Compute the statistics of an annotation file.

    Args:
        coco: file that was read with all of its keypoints.
        skeleton: skeleton that the file was read with.
    """
    annotations = coco.annotations
    is_person = ~annotations.is_crowd
    labeled = labeled_parts(coco, skeleton)  # [T, parts]
    areas = annotations.areas[is_person]
    sizes = np.array([image[2:] for image in coco.images.values()]).reshape(-1, 2)
    widths, heights = sizes[sizes.all(axis=1)].T
    return DatasetStatistics(
        images=len(coco.images),
        empty=len(coco.images) - len(np.unique(annotations.image_ids[is_person])),
        people=int(is_person.sum()),
        crowds=int(annotations.is_crowd.sum()),
        without_keypoints=int((is_person & ~labeled.any(axis=1)).sum()),
        small=int((areas < MEDIUM_AREA).sum()),
        medium=int(((areas >= MEDIUM_AREA) & (areas < LARGE_AREA)).sum()),
        large=int((areas >= LARGE_AREA).sum()),
        widths=_min_max(widths),
        heights=_min_max(heights),
        parts={
            name: _part_statistics(annotations.keypoints[is_person, part, 2])
            for name, part in skeleton.disjoint_parts.items()
        },
    )


def labeled_parts(coco: CocoFile, skeleton: Skeleton) -> np.ndarray:
    """Return whether each annotation has a labeled keypoint in each part, [T, parts]."""
    v = coco.annotations.keypoints[..., 2]
    return np.stack([(v[:, part] > 0).any(1) for part in skeleton.disjoint_parts.values()], axis=1)


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


def _min_max(values: np.ndarray) -> tuple[int, int]:
    """Return the smallest and the largest value, or 0 if there is none."""
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def _part_statistics(v: np.ndarray) -> PartStatistics:
    """Compute the statistics of one part from its visibilities [P, n]."""
    labeled = int((v > 0).any(axis=1).sum())
    zero, one, two = (int((v == value).sum()) for value in (0, 1, 2))
    below_one, below_two = (int(((v > low) & (v < low + 1)).sum()) for low in (0, 1))
    return PartStatistics(
        labeled=labeled,
        unlabeled=len(v) - labeled,
        keypoints=int((v > 0).sum()),
        values=VisibilityCounts(zero, below_one, one, below_two, two),
    )


def _format_range(bounds: tuple[int, int]) -> str:
    """Format two bounds, or one number if they are equal."""
    low, high = bounds
    return str(low) if low == high else f"{low} to {high}"
