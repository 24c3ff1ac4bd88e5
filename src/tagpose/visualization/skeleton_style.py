"""Style of a skeleton: its colors, lines and line widths.

Line widths are relative to the width of a line of the body.
"""

from collections import Counter
from itertools import pairwise, product
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tagpose.skeletons.coco import BODY, FACE_CONTOURS
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.colors import Color
from tagpose.visualization.skeleton_colors import (
    MIDDLE,
    face_line_color,
    find_coco_part,
    get_side,
    keypoint_colors,
)

# Thin lines for the face: it has more keypoints than the body on a tenth of the length.
_PART_WEIGHTS: Final = MappingProxyType(
    {"body": 1.0, "foot": 0.7, "face": 0.3, "lefthand": 0.4, "righthand": 0.4}
)
_HEAD_WEIGHT: Final = 0.35  # thin enough to leave the eyes visible
_HEAD_RADIUS: Final = 1.4
_ISOLATED_RADIUS: Final = 1.6  # of keypoints without a line
_MIN_CUSTOM_WEIGHT: Final = 0.3
_MAX_WIDTH: Final = 0.25  # of the median length of a part's lines
_MIN_WIDTH: Final = 0.4  # of the full width

_HEAD: Final = ("nose", "eye", "ear")  # suffixes of keypoint names
_TORSO: Final = ("shoulder", "hip")

_CLOSED: Final = ("right_eye", "left_eye", "outer_lip", "inner_lip")  # contours of the face

_Line = tuple[tuple[int, int], Color]  # indices of the keypoints at both ends, and the color


class SkeletonStyle(NamedTuple):
    """Colors and sizes of the K keypoints of a skeleton and the S lines between them."""

    colors: np.ndarray  # [K, 3] uint8 RGB
    line_weights: np.ndarray  # [K] width of the lines that end there, in widths of a body line
    dot_radii: np.ndarray  # [K] radius of the dot, in widths of the lines that end there
    lines: np.ndarray  # [S, 2] int64 indices of the keypoints at both ends
    line_colors: np.ndarray  # [S, 3] uint8 RGB
    part_slices: tuple[slice, ...]  # keypoints of each part


def make_skeleton_style(skeleton: Skeleton) -> SkeletonStyle:
    """Return the style of a skeleton with its bones and the contours of a COCO-WholeBody face."""
    colors, weights, head = keypoint_colors(skeleton), _line_weights(skeleton), _head_mask(skeleton)
    lines = _bone_lines(skeleton, colors) + _face_lines(skeleton)
    ends = np.array([ends for ends, _ in lines], np.int64).reshape(-1, 2)
    isolated = ~np.isin(np.arange(skeleton.size), ends)
    # Dots are hardly wider than the thinnest lines, which would look like chains otherwise.
    radii = np.where(head, _HEAD_RADIUS, 0.5 + 0.5 * weights)
    return SkeletonStyle(
        colors=np.array(colors, np.uint8),
        line_weights=np.where(head, _HEAD_WEIGHT, 1) * weights,
        dot_radii=np.where(isolated, _ISOLATED_RADIUS, radii),
        lines=ends,
        line_colors=np.array([color for _, color in lines], np.uint8).reshape(-1, 3),
        part_slices=tuple(skeleton.disjoint_parts.values()),
    )


def recolor_style(style: SkeletonStyle, color: Color) -> SkeletonStyle:
    """Return the style with the same color for all keypoints and lines."""
    return style._replace(
        colors=np.full_like(style.colors, color),
        line_colors=np.full_like(style.line_colors, color),
    )


def compute_line_widths(
    style: SkeletonStyle, points: np.ndarray, visible: np.ndarray, body_width: float
) -> np.ndarray:
    """Return widths [K] of the lines that end in each keypoint, reduced for parts that are small.

    Args:
        style: style of the skeleton.
        points: x, y [K, 2] in pixels.
        visible: mask [K] of the keypoints that are drawn.
        body_width: width of a line of the body in pixels.
    """
    ends = points[style.lines]
    lengths = np.hypot(*(ends[:, 0] - ends[:, 1]).T)
    is_drawn = visible[style.lines].all(axis=1)
    limits = np.full(len(points), np.inf)
    for at in style.part_slices:
        inside = is_drawn & ((style.lines >= at.start) & (style.lines < at.stop)).all(axis=1)
        if inside.any():
            limits[at] = _MAX_WIDTH * np.median(lengths[inside])
    full = body_width * style.line_weights
    return limits.clip(_MIN_WIDTH * full, full)


def _line_weights(skeleton: Skeleton) -> np.ndarray:
    """Return weights [K] with a maximum of 1, so that a face alone has lines as wide as a body."""
    weights = np.zeros(skeleton.size)
    for part, at in skeleton.disjoint_parts.items():
        coco_part = find_coco_part(skeleton, part)
        sigmas = skeleton.sigmas[at]
        weights[at] = _PART_WEIGHTS[coco_part] if coco_part else _custom_weight(sigmas)
    return weights / weights.max()


def _head_mask(skeleton: Skeleton) -> np.ndarray:
    """Return the mask [K] of head keypoints of the COCO body."""
    head = np.zeros(skeleton.size, bool)
    for part, at in skeleton.disjoint_parts.items():
        if find_coco_part(skeleton, part) == "body":
            head[at] = [name.endswith(_HEAD) for name in skeleton.keypoints[at]]
    return head


def _custom_weight(sigmas: tuple[float, ...]) -> float:
    """Return the weight of a custom part: finely labeled parts have fine lines.

    The square root of the sigmas, relative to those of the body, approximates the weights of the
    COCO-WholeBody parts.
    """
    return float(np.sqrt(np.median(sigmas) / np.median(BODY.sigmas)).clip(_MIN_CUSTOM_WEIGHT, 1))


def _bone_lines(skeleton: Skeleton, colors: list[Color]) -> list[_Line]:
    """Return the bones in the color of their outer end, the one with fewer bones or else later."""
    degrees = Counter(end for bone in skeleton.bones for end in bone)
    lines = []
    for bone in skeleton.bones:
        outer = min(bone, key=lambda end: (degrees[end], -end))
        names = [skeleton.keypoints[end] for end in bone]
        crosses = {get_side(name) for name in names} == {"left", "right"}
        is_trunk = all(name.endswith(_HEAD + _TORSO) for name in names)
        lines.append((bone, MIDDLE if crosses or is_trunk else colors[outer]))
    return lines


def _face_lines(skeleton: Skeleton) -> list[_Line]:
    """Return the contours of COCO-WholeBody faces."""
    lines = []
    faces = [
        at
        for part, at in skeleton.disjoint_parts.items()
        if find_coco_part(skeleton, part) == "face"
    ]
    for face, (name, at) in product(faces, FACE_CONTOURS.items()):
        indices = [face.start + i for i in range(at.start, at.stop)]
        closing = indices[:1] if name in _CLOSED else []
        lines += [(ends, face_line_color(name)) for ends in pairwise(indices + closing)]
    return lines
