"""This file says what a skeleton looks like: keypoints, the lines between them, their widths."""

from collections import Counter
from itertools import pairwise, product
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tagpose.skeletons.coco import BODY, FACE_CONTOURS
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.colors import Color
from tagpose.visualization.palette import (
    MIDDLE,
    face_line_color,
    find_official_part,
    get_side,
    keypoint_colors,
)

# In strokes, the width of a line of the body: a face has more points on a tenth of the length.
_WEIGHTS: Final = MappingProxyType(
    {"body": 1.0, "foot": 0.7, "face": 0.3, "lefthand": 0.4, "righthand": 0.4}
)
_HEAD_WEIGHT: Final = 0.35  # thin enough to see the eyes behind it
_HEAD_DOT: Final = 1.4
_ISOLATED_DOT: Final = 1.6  # a dot that no line leads to
_MIN_CUSTOM_WEIGHT: Final = 0.3  # of parts of one's own
_MAX_WIDTH_TO_LENGTH: Final = (
    0.25  # of the median length of a part's lines is the width that they have at most
)
_MIN_WIDTH: Final = 0.4  # of the full width is what they have at least

_HEAD: Final = ("nose", "eye", "ear")  # how names end
_TORSO: Final = ("shoulder", "hip")

_CLOSED: Final = ("right_eye", "left_eye", "outer_lip", "inner_lip")  # end where they began


_Line = tuple[tuple[int, int], Color]  # the keypoints at its ends


class SkeletonStyle(NamedTuple):
    """How the K keypoints of a skeleton and the S lines between them are drawn."""

    colors: np.ndarray  # [K, 3] uint8 RGB
    line_weights: np.ndarray  # [K] width of the lines that end there in strokes
    dot_radii: np.ndarray  # [K] radius of the dot in those widths
    lines: np.ndarray  # [S, 2] int64: the keypoints at both ends
    line_colors: np.ndarray  # [S, 3] uint8 RGB
    part_slices: tuple[slice, ...]  # keypoints of each part


def make_skeleton_style(skeleton: Skeleton) -> SkeletonStyle:
    """The style of a skeleton: its bones, and the lines of its face if that is official."""
    colors, weights, head = keypoint_colors(skeleton), _weights(skeleton), _head(skeleton)
    lines = _bone_lines(skeleton, colors) + _face_lines(skeleton)
    ends = np.array([ends for ends, _ in lines], np.int64).reshape(-1, 2)
    alone = ~np.isin(np.arange(skeleton.size), ends)
    return SkeletonStyle(
        colors=np.array(colors, np.uint8),
        line_weights=np.where(head, _HEAD_WEIGHT, 1) * weights,
        # hardly wider than the finest lines, which would be chains
        dot_radii=np.where(alone, _ISOLATED_DOT, np.where(head, _HEAD_DOT, 0.5 + 0.5 * weights)),
        lines=ends,
        line_colors=np.array([color for _, color in lines], np.uint8).reshape(-1, 3),
        part_slices=tuple(skeleton.disjoint_parts.values()),
    )


def recolor_style(style: SkeletonStyle, color: Color) -> SkeletonStyle:
    """Return a style whose keypoints and lines all have one color."""
    return style._replace(
        colors=np.full_like(style.colors, color),
        line_colors=np.full_like(style.line_colors, color),
    )


def compute_line_widths(
    style: SkeletonStyle, points: np.ndarray, shown: np.ndarray, stroke: float
) -> np.ndarray:
    """Widths [K] of the lines that end in each keypoint: finer where a part is seen small.

    Args:
        style: of the skeleton.
        points: [K, 2] in pixels.
        shown: [K] bool.
        stroke: width of a line of the body in pixels.
    """
    ends = points[style.lines]
    lengths = np.hypot(*(ends[:, 0] - ends[:, 1]).T)
    seen = shown[style.lines].all(axis=1)
    limits = np.full(len(points), np.inf)
    for at in style.part_slices:
        inside = seen & ((style.lines >= at.start) & (style.lines < at.stop)).all(axis=1)
        if inside.any():
            limits[at] = _MAX_WIDTH_TO_LENGTH * np.median(lengths[inside])
    full = stroke * style.line_weights
    return limits.clip(_MIN_WIDTH * full, full)


def _weights(skeleton: Skeleton) -> np.ndarray:
    """Weights [K], the greatest 1: a face alone is drawn as wide as a body would be."""
    weights = np.zeros(skeleton.size)
    for part, at in skeleton.disjoint_parts.items():
        known = find_official_part(skeleton, part)
        weights[at] = _WEIGHTS[known] if known else _custom_weight(skeleton.sigmas[at])
    return weights / weights.max()


def _head(skeleton: Skeleton) -> np.ndarray:
    """Which keypoints [K] are those of the head of the official body."""
    head = np.zeros(skeleton.size, bool)
    for part, at in skeleton.disjoint_parts.items():
        if find_official_part(skeleton, part) == "body":
            head[at] = [name.endswith(_HEAD) for name in skeleton.keypoints[at]]
    return head


def _custom_weight(sigmas: tuple[float, ...]) -> float:
    """The weight of a part of one's own: what is labelled finely has fine lines.

    The root of its sigmas, in those of the body, comes near the weights of the official parts.
    """
    return float(np.sqrt(np.median(sigmas) / np.median(BODY.sigmas)).clip(_MIN_CUSTOM_WEIGHT, 1))


def _bone_lines(skeleton: Skeleton, colors: list[Color]) -> list[_Line]:
    """The bones, in the colors of their outer ends: where fewer bones meet, or else the later."""
    meeting = Counter(end for bone in skeleton.bones for end in bone)
    lines = []
    for bone in skeleton.bones:
        outer = min(bone, key=lambda end: (meeting[end], -end))
        names = [skeleton.keypoints[end] for end in bone]
        across = {get_side(name) for name in names} == {"left", "right"}
        trunk = all(name.endswith(_HEAD + _TORSO) for name in names)
        lines.append((bone, MIDDLE if across or trunk else colors[outer]))
    return lines


def _face_lines(skeleton: Skeleton) -> list[_Line]:
    """The lines of the official face as pairs of keypoints."""
    lines = []
    faces = [
        at
        for part, at in skeleton.disjoint_parts.items()
        if find_official_part(skeleton, part) == "face"
    ]
    for face, (name, at) in product(faces, FACE_CONTOURS.items()):
        places = [face.start + place for place in range(at.start, at.stop)]
        closing = places[:1] if name in _CLOSED else []
        lines += [(ends, face_line_color(name)) for ends in pairwise(places + closing)]
    return lines
