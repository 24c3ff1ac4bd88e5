"""Drawing of poses in the style of OpenPose.

The pose models of ControlNet are trained on such pictures. Lines and dots have the sizes of DWPose
(comfyui_controlnet_aux) if the shorter side of the picture has 512 pixels, the size at which
ControlNet is used. In larger pictures they grow in proportion, so that the downsampled picture
looks the same.
"""

import colorsys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.keypoint_layouts import OPENPOSE_COCO_18

_REFERENCE_SIZE: Final = 512  # pixels of the shorter side at which the following sizes apply
_BODY_RADIUS: Final = 4  # half the width of the body's lines, and radius of its dots
_FINGER_WIDTH: Final = 2
_HAND_RADIUS: Final = 4
_FACE_RADIUS: Final = 3
_BRIGHTNESS: Final = 0.6  # of the body's lines compared with its dots
_WHITE: Final = (255, 255, 255)  # dots of a face
_BLUE: Final = (0, 0, 255)  # dots of a hand

# The order matters: line i has the color of dot i.
_BODY_LINES: Final = tuple(
    (OPENPOSE_COCO_18.keypoints.index(a), OPENPOSE_COCO_18.keypoints.index(b))
    for chain in (
        *("Neck RShoulder", "Neck LShoulder", "RShoulder RElbow RWrist", "LShoulder LElbow LWrist"),
        *("Neck RHip RKnee RAnkle", "Neck LHip LKnee LAnkle", "Neck Nose"),
        *("Nose REye REar", "Nose LEye LEar"),
    )
    for a, b in pairwise(chain.split())
)
_HAND_LINES: Final = tuple(
    bone for base in range(1, 21, 4) for bone in pairwise((0, *range(base, base + 4)))
)


def draw_openpose(
    picture: np.ndarray, body: np.ndarray, face: np.ndarray, hands: Sequence[np.ndarray]
) -> None:
    """Draw one person into a picture.

    Args:
        picture: picture [H, W, 3] uint8 RGB, modified in place.
        body: x, y, score [18, 3] in pixels of the picture; a score of 0 means missing.
        face: x, y, score [70, 3].
        hands: x, y, score [21, 3] of each hand.
    """
    scale = max(1.0, min(picture.shape[:2]) / _REFERENCE_SIZE)
    colors = _rainbow(len(body))
    for (a, b), color in zip(_BODY_LINES, colors[:-1], strict=True):
        if body[a, 2] and body[b, 2]:
            dimmed = tuple(int(_BRIGHTNESS * value) for value in color)
            _draw_ellipse(picture, body[a, :2], body[b, :2], _BODY_RADIUS * scale, dimmed)
    _draw_dots(picture, body, _BODY_RADIUS * scale, colors)
    for hand in hands:
        _draw_hand(picture, hand, scale)
    _draw_dots(picture, face, _FACE_RADIUS * scale, [_WHITE] * len(face))


def _draw_hand(picture: np.ndarray, hand: np.ndarray, scale: float) -> None:
    """Draw a hand [21, 3] with a different color for each bone."""
    for (a, b), color in zip(_HAND_LINES, _rainbow(len(_HAND_LINES)), strict=True):
        if hand[a, 2] and hand[b, 2]:
            start, stop = hand[[a, b], :2].astype(int).tolist()
            cv2.line(picture, start, stop, color, round(_FINGER_WIDTH * scale))
    _draw_dots(picture, hand, _HAND_RADIUS * scale, [_BLUE] * len(hand))


def _rainbow(count: int) -> list[tuple[int, int, int]]:
    """Return RGB colors with evenly spaced hues, starting at red."""
    colors = (colorsys.hsv_to_rgb(i / count, 1, 1) for i in range(count))
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors]


def _draw_ellipse(
    picture: np.ndarray, start: np.ndarray, stop: np.ndarray, radius: float, color: Sequence[int]
) -> None:
    """Draw an ellipse with a major axis from `start` [2] to `stop` [2]."""
    axis = start - stop
    center = ((start + stop) / 2).astype(int).tolist()
    axes = (int(np.hypot(*axis) / 2), round(radius))
    angle = int(np.degrees(np.arctan2(axis[1], axis[0])))
    outline = np.array(cv2.ellipse2Poly(center, axes, angle, 0, 360, 1))
    cv2.fillConvexPoly(picture, outline, color)


def _draw_dots(
    picture: np.ndarray, points: np.ndarray, radius: float, colors: Sequence[Sequence[int]]
) -> None:
    """Draw the points [Q, 3] whose score is not 0."""
    for (x, y, score), color in zip(points.tolist(), colors, strict=True):
        if score:
            cv2.circle(picture, (int(x), int(y)), round(radius), color, cv2.FILLED)
