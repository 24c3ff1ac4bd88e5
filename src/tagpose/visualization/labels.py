"""Labels and boxes of people in the color of each person."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tagpose.visualization.colors import OUTLINE_COLOR, Color

_MARGIN: Final = 0.04  # of the keypoints' diagonal, because people extend beyond their keypoints
# Font sizes: a fraction of the person's diagonal between a lower and an upper bound.
_BY_PERSON: Final = 0.04  # of the person's diagonal
_BY_PICTURE: Final = 1 / 60  # lower bound, of the shorter side of the picture
_READABLE: Final = 11  # pixels, lower bound in small pictures
_MAX_RATIO: Final = 2  # upper bound, of the lower bound
_MIN_FONT_SIZE: Final = 8  # pixels, where the label is wider than the picture
# Lengths in font sizes.
_LABEL_HEIGHT: Final = 1.3
_PADDING: Final = 0.3  # left and right of the text
_BORDER: Final = 0.12  # line width of boxes


class Box(NamedTuple):
    """Axis-aligned rectangle in image pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Return whether the boxes overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class PersonLabel(NamedTuple):
    """Box, label and color of a person."""

    box: Box
    label: str  # "" for none
    color: Color


def make_label_box(points: np.ndarray) -> Box:
    """Return the box of a person with keypoints [N, 2] in image pixels, with a small margin."""
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    margin = _MARGIN * np.hypot(*(high - low)) + 1
    return Box(*(low - margin).tolist(), *(high + margin).tolist())


def draw_box(picture: np.ndarray, person: PersonLabel) -> None:
    """Draw the box of a person into the picture [H, W, 3] uint8 RGB, which is modified in place."""
    limit = 4 * max(picture.shape)  # OpenCV's coordinates have 32 bits
    left, top, right, bottom = np.rint(np.clip(person.box, -limit, limit)).astype(int).tolist()
    thickness = max(1, round(_BORDER * _font_size(picture, person.box)))
    cv2.rectangle(picture, (left, top), (right, bottom), person.color, thickness)


def draw_labels(picture: np.ndarray, people: Sequence[PersonLabel]) -> None:
    """Write the labels of people into the picture [H, W, 3] uint8 RGB, modified in place.

    A label is placed next to its person's box, inside the picture and, where possible, without
    covering earlier labels. People outside of the picture have no label.
    """
    occupied: list[Box] = []
    bounds = Box(0, 0, picture.shape[1], picture.shape[0])
    for person in people:
        if person.label and person.box.overlaps(bounds):
            tile = _render_label(person, _font_size(picture, person.box), picture.shape[1])
            tile = tile[: picture.shape[0], : picture.shape[1]]
            candidates = _candidate_boxes(person.box, tile, picture)
            free = (box for box in candidates if not any(map(box.overlaps, occupied)))
            label_box = next(free, candidates[0])
            left, top, right, bottom = map(int, label_box)
            picture[top:bottom, left:right] = tile
            occupied.append(label_box)


def _font_size(picture: np.ndarray, box: Box) -> int:
    """Return the font size of a person's label in pixels."""
    lower = max(_READABLE, min(picture.shape[:2]) * _BY_PICTURE)
    diagonal = math.hypot(box.right - box.left, box.bottom - box.top)
    return round(min(max(lower, _BY_PERSON * diagonal), _MAX_RATIO * lower))


def _render_label(person: PersonLabel, font_size: int, width: int) -> np.ndarray:
    """Return a label on the person's color, in a smaller font if it is wider than the picture."""
    length = _font(font_size).getlength(person.label) + 2 * _PADDING * font_size
    font_size = max(_MIN_FONT_SIZE, min(font_size, int(font_size * width / length)))
    font = _font(font_size)
    size = (
        math.ceil(font.getlength(person.label) + 2 * _PADDING * font_size),
        round(_LABEL_HEIGHT * font_size),
    )
    tile = Image.new("RGB", size, person.color)
    start = (_PADDING * font_size, size[1] / 2)
    ImageDraw.Draw(tile).text(start, person.label, fill=OUTLINE_COLOR, font=font, anchor="lm")
    return np.asarray(tile)


@cache
def _font(font_size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font; cached because all texts after the first one render ten times faster."""
    return ImageFont.load_default(font_size)


def _candidate_boxes(box: Box, tile: np.ndarray, picture: np.ndarray) -> list[Box]:
    """Return possible boxes of a label, best first: above, below, and inside the person's box."""
    height, width = tile.shape[:2]
    candidates = []
    for top in (box.top - height, box.bottom, box.top, box.bottom - height):
        for left in (box.left, box.right - width):
            x = round(min(max(left, 0), picture.shape[1] - width))
            y = round(min(max(top, 0), picture.shape[0] - height))
            candidates.append(Box(x, y, x + width, y + height))
    return candidates
