"""Colors of the parts and keypoints of a skeleton.

The parts of COCO-WholeBody have fixed palettes; the colors of custom parts follow from the names
and bones of their keypoints. Left keypoints have cool colors and right ones warm colors. The hues
of a side, or of the whole circle for parts without sides, are divided among the branches of a
part, such as fingers. In a part with a single branch, every keypoint has a different color.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from tagpose.skeletons.coco import FACE_CONTOURS, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.colors import Color, HueRange, hue_to_rgb

MIDDLE: Final[Color] = (70, 150, 255)  # neither left nor right
_LEFT: Final[Color] = (40, 220, 90)
_RIGHT: Final[Color] = (255, 140, 20)
_LEFT_FOOT: Final[Color] = (190, 245, 70)
_RIGHT_FOOT: Final[Color] = (255, 205, 70)
_LEFT_FACE: Final[Color] = (165, 255, 195)
_RIGHT_FACE: Final[Color] = (255, 205, 150)
_MIDDLE_FACE: Final[Color] = (240, 240, 255)
_LIPS: Final[Color] = (255, 130, 165)

# From the thumb to the little finger; cool and warm like the arms.
_LEFT_FINGERS: Final[tuple[Color, ...]] = (
    (0, 235, 170),
    (0, 205, 240),
    (60, 140, 255),
    (125, 100, 255),
    (195, 85, 255),
)
_RIGHT_FINGERS: Final[tuple[Color, ...]] = (
    (255, 235, 60),
    (255, 175, 40),
    (255, 110, 60),
    (255, 60, 90),
    (255, 70, 180),
)

# Palettes of the COCO-WholeBody parts; the first color represents the part as a whole.
PALETTES: Final[Mapping[str, tuple[Color, ...]]] = MappingProxyType(
    {
        "body": (MIDDLE, _LEFT, _RIGHT),
        "foot": (_LEFT_FOOT, _RIGHT_FOOT),
        "face": (_LIPS, _LEFT_FACE, _RIGHT_FACE, _MIDDLE_FACE),
        "lefthand": (_LEFT_FINGERS[1], *_LEFT_FINGERS, _LEFT),
        "righthand": (_RIGHT_FINGERS[1], *_RIGHT_FINGERS, _RIGHT),
    }
)

_FACE_COLORS: Final = {
    "right_brow": _RIGHT_FACE,
    "left_brow": _LEFT_FACE,
    "right_eye": _RIGHT_FACE,
    "left_eye": _LEFT_FACE,
    "outer_lip": _LIPS,
    "inner_lip": _LIPS,
}

# Parts are identified by their keypoints, because a custom "face" may have five of them.
_COCO_PARTS: Final = {
    WHOLEBODY.keypoints[at]: part for part, at in WHOLEBODY.disjoint_parts.items()
}

_FORK_COLOR: Final[Color] = (235, 235, 245)  # of forks without a side
_MIN_FORK_BONES: Final = 3
_FULL_RANGE: Final = HueRange(310, 0)  # violet over green to red
# For few branches: hues that are clearly left or right and differ from the blue of the middle.
_NARROW_RANGES: Final = {
    "left": HueRange(148, 215),  # green to cyan
    "right": HueRange(62, 10),  # orange to red
}
_WIDE_RANGES: Final = {
    "left": HueRange(148, 290),  # green to violet
    "right": HueRange(100, -10),  # yellow to pink
}
_MAX_NARROW_BRANCHES: Final = 2

ALL_PARTS_COLOR: Final = "#334155"  # of all parts together
_GAMMA: Final = 2.2  # approximates sRGB
_LUMINANCE_WEIGHTS: Final = np.array([0.2126, 0.7152, 0.0722])  # of sRGB red, green and blue

# Relative luminance with a contrast of 3 to white, which WCAG 2 requires for graphics.
_MAX_LUMINANCE: Final = 0.3


def get_side(name: str) -> str:
    """Return "left" or "right" if the name starts with it, else ""."""
    return next((side for side in ("left", "right") if name.lower().startswith(side)), "")


def find_coco_part(skeleton: Skeleton, part: str) -> str | None:
    """Return the COCO-WholeBody part with the same keypoints as this part, or None."""
    return _COCO_PARTS.get(skeleton.keypoints[skeleton.disjoint_parts[part]])


def part_color(skeleton: Skeleton, part: str) -> Color:
    """Return the color that represents a part of `skeleton.disjoint_parts`."""
    coco_part = find_coco_part(skeleton, part)
    return PALETTES[coco_part][0] if coco_part else _custom_part_colors(skeleton)[part][0]


def keypoint_colors(skeleton: Skeleton) -> list[Color]:
    """Return the colors of the K keypoints."""
    custom = _custom_part_colors(skeleton)
    colors: list[Color] = []
    for part, at in skeleton.disjoint_parts.items():
        coco_part = find_coco_part(skeleton, part)
        indices = range(at.stop - at.start)
        colors += [_coco_color(coco_part, i) for i in indices] if coco_part else custom[part][1:]
    return colors


def part_print_colors(skeleton: Skeleton) -> dict[str, str]:
    """Return the color of each part as #rrggbb, darkened if necessary for a white background."""
    colors = {part: _darken(part_color(skeleton, part)) for part in skeleton.disjoint_parts}
    return {part: colors.get(part, ALL_PARTS_COLOR) for part in skeleton.parts}


def face_line_color(contour: str) -> Color:
    """Return the color of a contour of the face."""
    return _FACE_COLORS.get(contour, _MIDDLE_FACE)


def _coco_color(part: str, index: int) -> Color:
    """Return the color of a keypoint of a COCO-WholeBody part by its index in the part."""
    name = WHOLEBODY.keypoints[WHOLEBODY.parts[part]][index]
    is_left = get_side(name) == "left"
    if part == "face":
        return face_line_color(
            next(contour for contour, at in FACE_CONTOURS.items() if at.start <= index < at.stop)
        )
    if part == "foot":
        return _LEFT_FOOT if is_left else _RIGHT_FOOT
    if name == "nose":
        return MIDDLE
    if part == "body" or index == 0:  # the root of a hand has the color of the adjacent wrist
        return _LEFT if is_left else _RIGHT
    fingers, at = _LEFT_FINGERS if is_left else _RIGHT_FINGERS, WHOLEBODY.parts[part]
    return fingers[(index - 1) * len(fingers) // (at.stop - at.start - 1)]


def _custom_part_colors(skeleton: Skeleton) -> Mapping[str, tuple[Color, ...]]:
    """Return for each custom part the color that represents it, then one for each keypoint."""
    parts = [p for p in skeleton.disjoint_parts if find_coco_part(skeleton, p) is None]
    sides = {
        part: [
            get_side(name) or get_side(part)
            for name in skeleton.keypoints[skeleton.disjoint_parts[part]]
        ]
        for part in parts
    }
    colors = {}
    for i, part in enumerate(parts):
        keypoints = range(skeleton.size)[skeleton.disjoint_parts[part]]
        part_colors = dict.fromkeys(keypoints, MIDDLE)
        for side in _colored_sides(sides[part]):
            members = [k for k, other in zip(keypoints, sides[part], strict=True) if other == side]
            sharing = [other for other in parts if side in _colored_sides(sides[other])]
            section = (sharing.index(part), len(sharing))
            part_colors |= _side_colors(
                members, skeleton, side, section, has_middle="" in sides[part]
            )
        side = "".join(set(sides[part]))  # the part's side, if there is only one
        if side in _NARROW_RANGES:
            similar = [other for other in parts if set(sides[other]) == set(sides[part])]
            hues = _NARROW_RANGES[side].section(similar.index(part), len(similar))
        else:
            hues = _FULL_RANGE.section(i, len(parts))
        colors[part] = (hue_to_rgb(hues.start), *part_colors.values())
    return colors


def _colored_sides(sides: Sequence[str]) -> list[str]:
    """Return the sides to color: left and right, or only "" for parts without sides."""
    return sorted(set(sides) - {""}) or [""]


def _side_colors(
    members: Sequence[int],
    skeleton: Skeleton,
    side: str,
    section: tuple[int, int],
    *,
    has_middle: bool,
) -> dict[int, Color]:
    """Return the colors of the keypoints on one side of a part.

    Args:
        members: indices of the keypoints.
        skeleton: skeleton of the keypoints.
        side: side of the keypoints.
        section: index of the part among those that share the hues of the side, and their number.
        has_middle: whether the part also has keypoints without a side.
    """
    branches = _find_branches(members, skeleton.bones)
    names = sorted(set(branches.values()))
    if not side and len(names) < 2:
        branches, names = {k: k for k in members}, list(members)
    is_narrow = has_middle or len(names) <= _MAX_NARROW_BRANCHES
    ranges = _NARROW_RANGES if is_narrow else _WIDE_RANGES
    hues = (ranges[side] if side else _FULL_RANGE).section(*section)
    branch_colors = dict(zip(names, hues.colors(len(names)), strict=True))
    fork = hue_to_rgb(_NARROW_RANGES[side].start) if side else _FORK_COLOR
    return {k: branch_colors[branches[k]] if k in branches else fork for k in members}


def _find_branches(members: Sequence[int], bones: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Map each keypoint to the first keypoint of its branch; forks are omitted."""
    inside = [bone for bone in bones if set(bone) <= set(members)]
    degrees = Counter(end for bone in inside for end in bone)
    branches = {k: k for k in members if degrees[k] < _MIN_FORK_BONES}
    for a, b in inside:
        if a in branches and b in branches:
            first, other = sorted((branches[a], branches[b]))
            branches = {k: first if root == other else root for k, root in branches.items()}
    return branches


def _darken(color: tuple[int, int, int]) -> str:
    """Reduce the color's luminance to the maximum that is visible on white."""
    linear = (np.array(color) / 255) ** _GAMMA
    linear *= min(1.0, _MAX_LUMINANCE / (linear @ _LUMINANCE_WEIGHTS))
    red, green, blue = np.rint(255 * linear ** (1 / _GAMMA)).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
