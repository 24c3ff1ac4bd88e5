"""Draw people as OpenPose does in the pictures that ControlNet's pose networks learned from.

Sticks and dots have the sizes that DWPose (comfyui_controlnet_aux) gives them where the shorter
side of the picture has 512 pixels, the size at which ControlNet is used; larger pictures get
larger ones, so that they look the same once they are reduced.
"""

import colorsys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.keypoint_layouts import OPENPOSE_COCO_18

_SIDE: Final = 512  # pixels of the shorter side
_STICK: Final = 4  # half the width of a stick of the body, and the radius of its dots
_FINGER: Final = 2  # width of the lines of a hand
_HAND_DOT: Final = 4
_FACE_DOT: Final = 3
_DIM: Final = 0.6  # of the color of a stick
_WHITE: Final = (255, 255, 255)
_BLUE: Final = (0, 0, 255)  # dots of a hand

# In this order each stick has the color of the dot with its number.
_STICKS: Final = tuple(
    (OPENPOSE_COCO_18.keypoints.index(a), OPENPOSE_COCO_18.keypoints.index(b))
    for chain in (
        *("Neck RShoulder", "Neck LShoulder", "RShoulder RElbow RWrist", "LShoulder LElbow LWrist"),
        *("Neck RHip RKnee RAnkle", "Neck LHip LKnee LAnkle", "Neck Nose"),
        *("Nose REye REar", "Nose LEye LEar"),
    )
    for a, b in pairwise(chain.split())
)
_FINGERS: Final = tuple(
    bone for root in range(1, 21, 4) for bone in pairwise((0, *range(root, root + 4)))
)


def draw_openpose(
    picture: np.ndarray, body: np.ndarray, face: np.ndarray, hands: Sequence[np.ndarray]
) -> None:
    """Draw one person into a picture.

    Args:
        picture: [H, W, 3] uint8 RGB, drawn on.
        body: x, y, score [18, 3] in pixels of the picture; a score of 0 means missing.
        face: [70, 3].
        hands: [21, 3] each.
    """
    scale = max(1.0, min(picture.shape[:2]) / _SIDE)
    colors = _rainbow(len(body))
    for (a, b), color in zip(_STICKS, colors[:-1], strict=True):
        if body[a, 2] and body[b, 2]:
            dim = tuple(int(_DIM * value) for value in color)
            _draw_stick(picture, body[a, :2], body[b, :2], _STICK * scale, dim)
    _draw_dots(picture, body, _STICK * scale, colors)
    for hand in hands:
        _draw_hand(picture, hand, scale)
    _draw_dots(picture, face, _FACE_DOT * scale, [_WHITE] * len(face))


def _draw_hand(picture: np.ndarray, hand: np.ndarray, scale: float) -> None:
    """Draw a hand [21, 3], each bone in a color of its own."""
    for (a, b), color in zip(_FINGERS, _rainbow(len(_FINGERS)), strict=True):
        if hand[a, 2] and hand[b, 2]:
            start, stop = hand[[a, b], :2].astype(int).tolist()
            cv2.line(picture, start, stop, color, round(_FINGER * scale))
    _draw_dots(picture, hand, _HAND_DOT * scale, [_BLUE] * len(hand))


def _rainbow(count: int) -> list[tuple[int, int, int]]:
    """Colors RGB whose hues divide the circle evenly, from red on."""
    shades = (colorsys.hsv_to_rgb(i / count, 1, 1) for i in range(count))
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shades]


def _draw_stick(
    picture: np.ndarray, start: np.ndarray, stop: np.ndarray, radius: float, color: Sequence[int]
) -> None:
    """Draw an ellipse [2] to [2] whose long axis is the line between two points."""
    across = start - stop
    center = ((start + stop) / 2).astype(int).tolist()
    axes = (int(np.hypot(*across) / 2), round(radius))
    angle = int(np.degrees(np.arctan2(across[1], across[0])))
    outline = np.array(cv2.ellipse2Poly(center, axes, angle, 0, 360, 1))
    cv2.fillConvexPoly(picture, outline, color)


def _draw_dots(
    picture: np.ndarray, points: np.ndarray, radius: float, colors: Sequence[Sequence[int]]
) -> None:
    """Draw those of the points [Q, 3] that are not missing."""
    for (x, y, score), color in zip(points.tolist(), colors, strict=True):
        if score:
            cv2.circle(picture, (int(x), int(y)), round(radius), color, cv2.FILLED)
