"""This file counts what a data set has: people, labelled parts, sizes, values of v."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tagpose.data.inspection.columns import Annotated, Images
from tagpose.data.inspection.people import labelled_limbs
from tagpose.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA


class Visibilities(NamedTuple):
    """Keypoints by their v; hands and faces have v of all kinds, with the labeller's doubt."""

    zero: int
    below_one: int  # between 0 and 1
    one: int
    below_two: int  # between 1 and 2
    two: int
    other: int


class PartCoverage(NamedTuple):
    """What is known of one part in all people, crowds apart, whose field of it can be read."""

    labelled: int  # people with a keypoint of it that has v > 0
    unlabelled: int  # people without
    keypoints: int  # with v > 0
    values: Visibilities


class Coverage(NamedTuple):
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
    parts: Mapping[str, PartCoverage]


def count(images: Images, annotated: Annotated, skeleton: Skeleton) -> Coverage:
    """Count what the columns of a data set have."""
    person = ~annotated.crowd
    labelled = labelled_limbs(annotated, skeleton)  # [T, F]
    inhabited = np.unique(annotated.image[person & (annotated.image >= 0)])
    areas = annotated.areas[person]
    widths, heights = images.sizes[images.sizes.all(axis=1)].T
    return Coverage(
        images=len(images.rows),
        empty=len(images.rows) - len(inhabited),
        people=int(person.sum()),
        crowds=int(annotated.crowd.sum()),
        without_keypoints=int((person & ~labelled.any(axis=1)).sum()),
        small=int((areas < MEDIUM_AREA).sum()),
        medium=int(((areas >= MEDIUM_AREA) & (areas < LARGE_AREA)).sum()),
        large=int((areas >= LARGE_AREA).sum()),
        widths=_range(widths),
        heights=_range(heights),
        parts={
            part: _count_part(annotated.keypoints[:, at, 2][person & annotated.readable[:, f]])
            for f, (part, at) in enumerate(skeleton.limbs.items())
        },
    )


def _range(values: np.ndarray) -> tuple[int, int]:
    """The smallest and the largest value, 0 where there is none."""
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def _count_part(v: np.ndarray) -> PartCoverage:
    """What visibilities [P, n] of one part say."""
    labelled = int((v > 0).any(axis=1).sum())
    exact = [int((v == value).sum()) for value in (0, 1, 2)]
    between = [int(((v > low) & (v < low + 1)).sum()) for low in (0, 1)]
    return PartCoverage(
        labelled=labelled,
        unlabelled=len(v) - labelled,
        keypoints=int((v > 0).sum()),
        values=Visibilities(
            zero=exact[0],
            below_one=between[0],
            one=exact[1],
            below_two=between[1],
            two=exact[2],
            other=v.size - sum(exact) - sum(between),
        ),
    )
