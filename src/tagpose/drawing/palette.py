"""This file says which colour a part of a skeleton has, and each of its keypoints."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tagpose.drawing.branches import MIDDLE, own_colours, side_of
from tagpose.drawing.hues import Colour
from tagpose.official_skeletons import FACE_LINES, WHOLEBODY
from tagpose.skeleton import Skeleton

_LEFT: Final[Colour] = (40, 220, 90)
_RIGHT: Final[Colour] = (255, 140, 20)
_LEFT_FOOT: Final[Colour] = (190, 245, 70)
_RIGHT_FOOT: Final[Colour] = (255, 205, 70)
_LEFT_FACE: Final[Colour] = (165, 255, 195)
_RIGHT_FACE: Final[Colour] = (255, 205, 150)
_MIDDLE_FACE: Final[Colour] = (240, 240, 255)
_LIPS: Final[Colour] = (255, 130, 165)

# Thumb to little finger. The left hand is cool and the right one warm, as the arms they hang on.
_LEFT_FINGERS: Final[tuple[Colour, ...]] = (
    (0, 235, 170),
    (0, 205, 240),
    (60, 140, 255),
    (125, 100, 255),
    (195, 85, 255),
)
_RIGHT_FINGERS: Final[tuple[Colour, ...]] = (
    (255, 235, 60),
    (255, 175, 40),
    (255, 110, 60),
    (255, 60, 90),
    (255, 70, 180),
)

# Of the official parts. The first colour of a part is the one that stands for the whole of it.
PALETTES: Final[Mapping[str, tuple[Colour, ...]]] = MappingProxyType(
    {
        "body": (MIDDLE, _LEFT, _RIGHT),
        "foot": (_LEFT_FOOT, _RIGHT_FOOT),
        "face": (_LIPS, _LEFT_FACE, _RIGHT_FACE, _MIDDLE_FACE),
        "lefthand": (_LEFT_FINGERS[1], *_LEFT_FINGERS, _LEFT),
        "righthand": (_RIGHT_FINGERS[1], *_RIGHT_FINGERS, _RIGHT),
    }
)

_FACE_COLOURS: Final = {
    "right_brow": _RIGHT_FACE,
    "left_brow": _LEFT_FACE,
    "right_eye": _RIGHT_FACE,
    "left_eye": _LEFT_FACE,
    "outer_lip": _LIPS,
    "inner_lip": _LIPS,
}

# An official part is known by its keypoints: another's "face" may have five.
_OFFICIAL: Final = {WHOLEBODY.keypoints[at]: part for part, at in WHOLEBODY.limbs.items()}


def official_part(skeleton: Skeleton, part: str) -> str | None:
    """The official part that has the keypoints of this one, whatever its name here, if any has."""
    return _OFFICIAL.get(skeleton.keypoints[skeleton.limbs[part]])


def part_colour(skeleton: Skeleton, part: str) -> Colour:
    """The colour that stands for a whole part, one of `skeleton.limbs`."""
    known = official_part(skeleton, part)
    return PALETTES[known][0] if known else own_colours(skeleton, _own_parts(skeleton))[part][0]


def keypoint_colours(skeleton: Skeleton) -> list[Colour]:
    """The colours of the K keypoints: of the palettes, or by rule where a part has none."""
    own = own_colours(skeleton, _own_parts(skeleton))
    colours: list[Colour] = []
    for part, at in skeleton.limbs.items():
        known = official_part(skeleton, part)
        places = range(at.stop - at.start)
        colours += [_official_colour(known, i) for i in places] if known else own[part][1:]
    return colours


def face_colour(line: str) -> Colour:
    """The colour of a line of the face."""
    return _FACE_COLOURS.get(line, _MIDDLE_FACE)


def _own_parts(skeleton: Skeleton) -> list[str]:
    """The parts that are not official."""
    return [part for part in skeleton.limbs if official_part(skeleton, part) is None]


def _official_colour(part: str, place: int) -> Colour:
    """The colour of the keypoint at a place of an official part."""
    name = WHOLEBODY.keypoints[WHOLEBODY.parts[part]][place]
    left = side_of(name) == "left"
    if part == "face":
        return face_colour(next(n for n, at in FACE_LINES.items() if at.start <= place < at.stop))
    if part == "foot":
        return _LEFT_FOOT if left else _RIGHT_FOOT
    if name == "nose":
        return MIDDLE
    if part == "body" or place == 0:  # the root of a hand looks like the wrist it lies on
        return _LEFT if left else _RIGHT
    fingers, at = _LEFT_FINGERS if left else _RIGHT_FINGERS, WHOLEBODY.parts[part]
    return fingers[(place - 1) * len(fingers) // (at.stop - at.start - 1)]
