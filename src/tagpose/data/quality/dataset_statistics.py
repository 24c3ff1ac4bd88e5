"""Counts of what a data set has: people, labelled parts, sizes, values of v.

Annotations with an error are not counted.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tagpose.data.coco_file import CocoFile
from tagpose.data.quality.annotation_checks import labelled_parts
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA


class VisibilityCounts(NamedTuple):
    """Keypoints by their v; hands and faces have v of all kinds, with the labeller's doubt."""

    zero: int
    below_one: int  # between 0 and 1
    one: int
    below_two: int  # between 1 and 2
    two: int


class PartStatistics(NamedTuple):
    """What is known of one part in all people, crowds apart."""

    labelled: int  # people with a keypoint of it that has v > 0
    unlabelled: int  # people without
    keypoints: int  # with v > 0
    values: VisibilityCounts


class DatasetStatistics(NamedTuple):
    """What a data set has."""

    images: int
    empty: int  # images without people; there may be a crowd
    people: int  # crowds apart
    crowds: int
    without_keypoints: int  # people with no v > 0: they are masked, not learned
    small: int  # people of an area below 32 x 32 image pixels
    medium: int  # below 96 x 96
    large: int
    widths: tuple[int, int]  # of the narrowest and the widest image in image pixels, 0 for none
    heights: tuple[int, int]
    parts: Mapping[str, PartStatistics]


def compute_statistics(coco: CocoFile, skeleton: Skeleton) -> DatasetStatistics:
    """Count what a file has that was read with all of its keypoints."""
    annotations = coco.annotations
    person = ~annotations.is_crowd
    labelled = labelled_parts(coco, skeleton)  # [T, F]
    areas = annotations.areas[person]
    sizes = np.array([image[2:] for image in coco.images.values()]).reshape(-1, 2)
    widths, heights = sizes[sizes.all(axis=1)].T
    return DatasetStatistics(
        images=len(coco.images),
        empty=len(coco.images) - len(np.unique(annotations.image_ids[person])),
        people=int(person.sum()),
        crowds=int(annotations.is_crowd.sum()),
        without_keypoints=int((person & ~labelled.any(axis=1)).sum()),
        small=int((areas < MEDIUM_AREA).sum()),
        medium=int(((areas >= MEDIUM_AREA) & (areas < LARGE_AREA)).sum()),
        large=int((areas >= LARGE_AREA).sum()),
        widths=_min_max(widths),
        heights=_min_max(heights),
        parts={
            part: _part_statistics(annotations.keypoints[person, at, 2])
            for part, at in skeleton.disjoint_parts.items()
        },
    )


def _min_max(values: np.ndarray) -> tuple[int, int]:
    """The smallest and the largest value, 0 where there is none."""
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def _part_statistics(v: np.ndarray) -> PartStatistics:
    """What visibilities [P, n] of one part say."""
    labelled = int((v > 0).any(axis=1).sum())
    exact = [int((v == value).sum()) for value in (0, 1, 2)]
    between = [int(((v > low) & (v < low + 1)).sum()) for low in (0, 1)]
    return PartStatistics(
        labelled=labelled,
        unlabelled=len(v) - labelled,
        keypoints=int((v > 0).sum()),
        values=VisibilityCounts(
            zero=exact[0],
            below_one=between[0],
            one=exact[1],
            below_two=between[1],
            two=exact[2],
        ),
    )
