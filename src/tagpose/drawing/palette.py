"""This file says what a skeleton looks like: colours and widths of its keypoints and lines."""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tagpose.skeleton import FACE_LINES, Skeleton

Colour = tuple[int, int, int]  # RGB, 0 to 255

OUTLINE: Final[Colour] = (16, 16, 24)

_LEFT: Final[Colour] = (40, 220, 90)
_RIGHT: Final[Colour] = (255, 140, 20)
_MIDDLE: Final[Colour] = (70, 150, 255)
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

# The first colour of a part is the one that stands for the whole of it.
PALETTES: Final[Mapping[str, tuple[Colour, ...]]] = MappingProxyType(
    {
        "body": (_MIDDLE, _LEFT, _RIGHT),
        "foot": (_LEFT_FOOT, _RIGHT_FOOT),
        "face": (_LIPS, _LEFT_FACE, _RIGHT_FACE, _MIDDLE_FACE),
        "lefthand": (_LEFT_FINGERS[1], *_LEFT_FINGERS, _LEFT),
        "righthand": (_RIGHT_FINGERS[1], *_RIGHT_FINGERS, _RIGHT),
    }
)

# In strokes, the width of a line of the body: a face has more points on a tenth of the length.
_WEIGHTS: Final = MappingProxyType(
    {"body": 1.0, "foot": 0.7, "face": 0.3, "lefthand": 0.45, "righthand": 0.45}
)
_HEAD_WEIGHT: Final = 0.5  # thin enough to see the eyes behind it

_HEAD: Final = ("nose", "eye", "ear")  # how names end
_TORSO: Final = ("shoulder", "hip")


_FACE_COLOURS: Final = {
    "right_brow": _RIGHT_FACE,
    "left_brow": _LEFT_FACE,
    "right_eye": _RIGHT_FACE,
    "left_eye": _LEFT_FACE,
    "outer_lip": _LIPS,
    "inner_lip": _LIPS,
}
_CLOSED: Final = ("right_eye", "left_eye", "outer_lip", "inner_lip")  # end where they began


class Look(NamedTuple):
    """How the K keypoints of a skeleton and the S lines between them are drawn."""

    colours: np.ndarray  # [K, 3] uint8 RGB
    weights: np.ndarray  # [K] radius of the dot in strokes
    lines: np.ndarray  # [S, 2] int64: the keypoints at both ends
    line_colours: np.ndarray  # [S, 3] uint8 RGB
    line_weights: np.ndarray  # [S] width in strokes


def look_of(skeleton: Skeleton) -> Look:
    """The look of a skeleton: its bones, and the lines of its face where it has one."""
    parts = {k: part for part, at in skeleton.limbs.items() for k in range(at.start, at.stop)}
    colours = [_keypoint_colour(skeleton, parts[k], k) for k in range(skeleton.size)]
    bones = [(bone, _bone_colour(skeleton, colours, bone)) for bone in skeleton.bones]
    lines = bones + _face_lines(skeleton)
    ends = np.array([ends for ends, _ in lines])
    weights = np.array(
        [
            _HEAD_WEIGHT if name.endswith(_HEAD) else _WEIGHTS[parts[k]]
            for k, name in enumerate(skeleton.keypoints)
        ]
    )
    return Look(
        colours=np.array(colours, np.uint8),
        weights=weights,
        lines=ends,
        line_colours=np.array([colour for _, colour in lines], np.uint8),
        line_weights=weights[ends].min(axis=1),
    )


def _keypoint_colour(skeleton: Skeleton, part: str, k: int) -> Colour:
    """The colour of keypoint k, out of the palette of its part."""
    at, left = skeleton.parts[part], skeleton.keypoints[k].startswith("left")
    place = k - at.start
    if part == "face":
        line = next(n for n, at in FACE_LINES.items() if at.start <= place < at.stop)
        return _FACE_COLOURS.get(line, _MIDDLE_FACE)
    if part == "foot":
        return _LEFT_FOOT if left else _RIGHT_FOOT
    if part == "body" and skeleton.keypoints[k] == "nose":
        return _MIDDLE
    if part == "body" or place == 0:  # the root of a hand looks like the wrist it lies on
        return _LEFT if left else _RIGHT
    fingers = _LEFT_FINGERS if left else _RIGHT_FINGERS
    return fingers[(place - 1) * len(fingers) // (at.stop - at.start - 1)]


def _bone_colour(skeleton: Skeleton, colours: list[Colour], bone: tuple[int, int]) -> Colour:
    """The colour of the outer end, or of the middle for head and torso."""
    if all(skeleton.keypoints[end].endswith(_HEAD + _TORSO) for end in bone):
        return _MIDDLE
    return colours[max(bone)]


def _face_lines(skeleton: Skeleton) -> list[tuple[tuple[int, int], Colour]]:
    """The lines of the face as pairs of keypoints, none where the skeleton has no face."""
    if "face" not in skeleton.parts:
        return []
    lines = []
    for name, at in FACE_LINES.items():
        places = [skeleton.parts["face"].start + place for place in range(at.start, at.stop)]
        closing = places[:1] if name in _CLOSED else []
        colour = _FACE_COLOURS.get(name, _MIDDLE_FACE)
        lines += [(ends, colour) for ends in pairwise(places + closing)]
    return lines
