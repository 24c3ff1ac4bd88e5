"""This file says what a skeleton looks like: keypoints, the lines between them, their widths."""

from collections import Counter
from itertools import pairwise, product
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tagpose.drawing.branches import MIDDLE, side_of
from tagpose.drawing.hues import Colour
from tagpose.drawing.palette import face_colour, keypoint_colours, official_part
from tagpose.official_skeletons import BODY, FACE_LINES
from tagpose.skeleton import Skeleton

# In strokes, the width of a line of the body: a face has more points on a tenth of the length.
_WEIGHTS: Final = MappingProxyType(
    {"body": 1.0, "foot": 0.7, "face": 0.3, "lefthand": 0.4, "righthand": 0.4}
)
_HEAD_WEIGHT: Final = 0.35  # thin enough to see the eyes behind it
_HEAD_DOT: Final = 1.4
_LONELY: Final = 1.6  # a dot that no line leads to
_FINEST: Final = 0.3  # of parts of one's own
_SLIM: Final = 0.25  # of the median length of a part's lines is the width that they have at most
_THINNEST: Final = 0.4  # of the full width is what they have at least

_HEAD: Final = ("nose", "eye", "ear")  # how names end
_TORSO: Final = ("shoulder", "hip")

_CLOSED: Final = ("right_eye", "left_eye", "outer_lip", "inner_lip")  # end where they began


_Line = tuple[tuple[int, int], Colour]  # the keypoints at its ends


class Look(NamedTuple):
    """How the K keypoints of a skeleton and the S lines between them are drawn."""

    colours: np.ndarray  # [K, 3] uint8 RGB
    weights: np.ndarray  # [K] width of the lines that end there in strokes
    dots: np.ndarray  # [K] radius of the dot in those widths
    lines: np.ndarray  # [S, 2] int64: the keypoints at both ends
    line_colours: np.ndarray  # [S, 3] uint8 RGB
    limbs: tuple[slice, ...]  # keypoints of each part


def look_of(skeleton: Skeleton) -> Look:
    """The look of a skeleton: its bones, and the lines of its face if that is official."""
    colours, weights, head = keypoint_colours(skeleton), _weights(skeleton), _head(skeleton)
    lines = _bone_lines(skeleton, colours) + _face_lines(skeleton)
    ends = np.array([ends for ends, _ in lines], np.int64).reshape(-1, 2)
    alone = ~np.isin(np.arange(skeleton.size), ends)
    return Look(
        colours=np.array(colours, np.uint8),
        weights=np.where(head, _HEAD_WEIGHT, 1) * weights,
        # hardly wider than the finest lines, which would be chains
        dots=np.where(alone, _LONELY, np.where(head, _HEAD_DOT, 0.5 + 0.5 * weights)),
        lines=ends,
        line_colours=np.array([colour for _, colour in lines], np.uint8).reshape(-1, 3),
        limbs=tuple(skeleton.limbs.values()),
    )


def in_one_color(look: Look, color: Colour) -> Look:
    """Return a look whose keypoints and lines all have one color."""
    return look._replace(
        colours=np.full_like(look.colours, color),
        line_colours=np.full_like(look.line_colours, color),
    )


def line_widths(look: Look, points: np.ndarray, shown: np.ndarray, stroke: float) -> np.ndarray:
    """Widths [K] of the lines that end in each keypoint: finer where a part is seen small.

    Args:
        look: of the skeleton.
        points: [K, 2] in pixels.
        shown: [K] bool.
        stroke: width of a line of the body in pixels.
    """
    ends = points[look.lines]
    lengths = np.hypot(*(ends[:, 0] - ends[:, 1]).T)
    seen = shown[look.lines].all(axis=1)
    limits = np.full(len(points), np.inf)
    for at in look.limbs:
        inside = seen & ((look.lines >= at.start) & (look.lines < at.stop)).all(axis=1)
        if inside.any():
            limits[at] = _SLIM * np.median(lengths[inside])
    full = stroke * look.weights
    return limits.clip(_THINNEST * full, full)


def _weights(skeleton: Skeleton) -> np.ndarray:
    """Weights [K], the greatest 1: a face alone is drawn as wide as a body would be."""
    weights = np.zeros(skeleton.size)
    for part, at in skeleton.limbs.items():
        known = official_part(skeleton, part)
        weights[at] = _WEIGHTS[known] if known else _own_weight(skeleton.sigmas[at])
    return weights / weights.max()


def _head(skeleton: Skeleton) -> np.ndarray:
    """Which keypoints [K] are those of the head of the official body."""
    head = np.zeros(skeleton.size, bool)
    for part, at in skeleton.limbs.items():
        if official_part(skeleton, part) == "body":
            head[at] = [name.endswith(_HEAD) for name in skeleton.keypoints[at]]
    return head


def _own_weight(sigmas: tuple[float, ...]) -> float:
    """The weight of a part of one's own: what is labelled finely has fine lines.

    The root of its sigmas, in those of the body, comes near the weights of the official parts.
    """
    return float(np.sqrt(np.median(sigmas) / np.median(BODY.sigmas)).clip(_FINEST, 1))


def _bone_lines(skeleton: Skeleton, colours: list[Colour]) -> list[_Line]:
    """The bones, in the colours of their outer ends: where fewer bones meet, or else the later."""
    meeting = Counter(end for bone in skeleton.bones for end in bone)
    lines = []
    for bone in skeleton.bones:
        outer = min(bone, key=lambda end: (meeting[end], -end))
        names = [skeleton.keypoints[end] for end in bone]
        across = {side_of(name) for name in names} == {"left", "right"}
        trunk = all(name.endswith(_HEAD + _TORSO) for name in names)
        lines.append((bone, MIDDLE if across or trunk else colours[outer]))
    return lines


def _face_lines(skeleton: Skeleton) -> list[_Line]:
    """The lines of the official face as pairs of keypoints."""
    lines = []
    faces = [at for part, at in skeleton.limbs.items() if official_part(skeleton, part) == "face"]
    for face, (name, at) in product(faces, FACE_LINES.items()):
        places = [face.start + place for place in range(at.start, at.stop)]
        closing = places[:1] if name in _CLOSED else []
        lines += [(ends, face_colour(name)) for ends in pairwise(places + closing)]
    return lines
