"""This file colors parts that no palette is made for, by the names and bones of their keypoints.

What is left is cool and what is right is warm, as in the parts that have palettes. The colors of
a side, or of the whole circle where a part has no sides, are shared out to the branches of a part,
say to fingers; a part that is one branch changes its color from keypoint to keypoint.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from tagpose.skeletons.coco import FACE_CONTOURS, WHOLEBODY
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.colors import Color, HueRange, hue_to_rgb

# MERGED: """This file says which color a part of a skeleton has, and each of its keypoints."""
MIDDLE: Final[Color] = (70, 150, 255)  # of what is neither left nor right
_FORK_COLOR: Final[Color] = (235, 235, 245)  # where branches of no side meet
_MIN_FORK_BONES: Final = 3  # bones that meet in a fork, at least

_FULL_RANGE: Final = HueRange(310, 0)  # violet by green to red
# For few branches those that nobody mistakes, and that leave blue to the middle.
_NARROW_RANGES: Final = {
    "left": HueRange(148, 215),
    "right": HueRange(62, 10),
}  # green to cyan; orange to red
_WIDE_RANGES: Final = {
    "left": HueRange(148, 290),
    "right": HueRange(100, -10),
}  # green to violet; yellow to pink
_MAX_NARROW_BRANCHES: Final = 2  # branches, at most


def get_side(name: str) -> str:
    """The side that a name begins with, or nothing."""
    return next((side for side in ("left", "right") if name.lower().startswith(side)), "")


def custom_part_colors(skeleton: Skeleton, parts: Sequence[str]) -> Mapping[str, tuple[Color, ...]]:
    """Colors for parts of one's own.

    Args:
        skeleton: that has the parts.
        parts: those without a palette.

    Returns:
        For each part the color that stands for all of it, then one for each keypoint.
    """
    sides = {part: _sides(skeleton, part) for part in parts}
    colors = {}
    for i, part in enumerate(parts):
        keypoints = range(skeleton.size)[skeleton.disjoint_parts[part]]
        own = dict.fromkeys(keypoints, MIDDLE)
        for side in _colored_sides(sides[part]):
            members = [k for k, other in zip(keypoints, sides[part], strict=True) if other == side]
            share = _share(part, [other for other in parts if side in _colored_sides(sides[other])])
            own |= _side_colors(members, skeleton, side, share, beside="" in sides[part])
        alike = [other for other in parts if set(sides[other]) == set(sides[part])]
        only = "".join(set(sides[part]))  # its side, if there is one
        whole = (
            _NARROW_RANGES[only].section(*_share(part, alike))
            if only in _NARROW_RANGES
            else _FULL_RANGE.section(i, len(parts))
        )
        colors[part] = (hue_to_rgb(whole.start), *own.values())
    return colors


def _share(part: str, sharing: Sequence[str]) -> tuple[int, int]:
    """Which one a part is of those that share, and of how many."""
    return sharing.index(part), len(sharing)


def _sides(skeleton: Skeleton, part: str) -> list[str]:
    """The side of each keypoint of a part, which the name of the part may tell as well."""
    return [
        get_side(name) or get_side(part)
        for name in skeleton.keypoints[skeleton.disjoint_parts[part]]
    ]


def _colored_sides(sides: Sequence[str]) -> list[str]:
    """The sides of a part whose keypoints differ in color: not the middle between two sides."""
    return sorted(set(sides) - {""}) or [""]


def _side_colors(
    members: Sequence[int], skeleton: Skeleton, side: str, share: tuple[int, int], *, beside: bool
) -> dict[int, Color]:
    """Colors of the keypoints on one side of a part.

    Args:
        members: those keypoints.
        skeleton: that they are of.
        side: they are on.
        share: which one this is, and of how many parts that share the hues of the side.
        beside: whether the part has a middle too.
    """
    branch = _branches(members, skeleton.bones)
    names = sorted(set(branch.values()))
    if not side and len(names) < 2:
        branch, names = {k: k for k in members}, list(members)
    hues = _NARROW_RANGES if beside or len(names) <= _MAX_NARROW_BRANCHES else _WIDE_RANGES
    arc = (hues[side] if side else _FULL_RANGE).section(*share)
    shades = dict(zip(names, arc.colors(len(names)), strict=True))
    fork = hue_to_rgb(_NARROW_RANGES[side].start) if side else _FORK_COLOR
    return {k: shades[branch[k]] if k in branch else fork for k in members}


def _branches(members: Sequence[int], bones: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The first keypoint of the branch that each one is on; forks are on none."""
    inside = [bone for bone in bones if set(bone) <= set(members)]
    meeting = Counter(end for bone in inside for end in bone)
    branch = {k: k for k in members if meeting[k] < _MIN_FORK_BONES}
    for a, b in inside:
        if a in branch and b in branch:
            first, other = sorted((branch[a], branch[b]))
            branch = {k: first if at == other else at for k, at in branch.items()}
    return branch


_LEFT: Final[Color] = (40, 220, 90)
_RIGHT: Final[Color] = (255, 140, 20)
_LEFT_FOOT: Final[Color] = (190, 245, 70)
_RIGHT_FOOT: Final[Color] = (255, 205, 70)
_LEFT_FACE: Final[Color] = (165, 255, 195)
_RIGHT_FACE: Final[Color] = (255, 205, 150)
_MIDDLE_FACE: Final[Color] = (240, 240, 255)
_LIPS: Final[Color] = (255, 130, 165)

# Thumb to little finger. The left hand is cool and the right one warm, as the arms they hang on.
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

# Of the official parts. The first color of a part is the one that stands for the whole of it.
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

# An official part is known by its keypoints: another's "face" may have five.
_OFFICIAL: Final = {WHOLEBODY.keypoints[at]: part for part, at in WHOLEBODY.disjoint_parts.items()}


def find_official_part(skeleton: Skeleton, part: str) -> str | None:
    """The official part that has the keypoints of this one, whatever its name here, if any has."""
    return _OFFICIAL.get(skeleton.keypoints[skeleton.disjoint_parts[part]])


def part_color(skeleton: Skeleton, part: str) -> Color:
    """The color that stands for a whole part, one of `skeleton.disjoint_parts`."""
    known = find_official_part(skeleton, part)
    return (
        PALETTES[known][0]
        if known
        else custom_part_colors(skeleton, _custom_parts(skeleton))[part][0]
    )


def keypoint_colors(skeleton: Skeleton) -> list[Color]:
    """The colors of the K keypoints: of the palettes, or by rule where a part has none."""
    own = custom_part_colors(skeleton, _custom_parts(skeleton))
    colors: list[Color] = []
    for part, at in skeleton.disjoint_parts.items():
        known = find_official_part(skeleton, part)
        places = range(at.stop - at.start)
        colors += [_official_color(known, i) for i in places] if known else own[part][1:]
    return colors


def face_line_color(line: str) -> Color:
    """The color of a line of the face."""
    return _FACE_COLORS.get(line, _MIDDLE_FACE)


def _custom_parts(skeleton: Skeleton) -> list[str]:
    """The parts that are not official."""
    return [part for part in skeleton.disjoint_parts if find_official_part(skeleton, part) is None]


def _official_color(part: str, place: int) -> Color:
    """The color of the keypoint at a place of an official part."""
    name = WHOLEBODY.keypoints[WHOLEBODY.parts[part]][place]
    left = get_side(name) == "left"
    if part == "face":
        return face_line_color(
            next(n for n, at in FACE_CONTOURS.items() if at.start <= place < at.stop)
        )
    if part == "foot":
        return _LEFT_FOOT if left else _RIGHT_FOOT
    if name == "nose":
        return MIDDLE
    if part == "body" or place == 0:  # the root of a hand looks like the wrist it lies on
        return _LEFT if left else _RIGHT
    fingers, at = _LEFT_FINGERS if left else _RIGHT_FINGERS, WHOLEBODY.parts[part]
    return fingers[(place - 1) * len(fingers) // (at.stop - at.start - 1)]
