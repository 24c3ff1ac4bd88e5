"""This file writes over people who they are, and draws boxes around them, in a color of each."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tagpose.visualization.colors import OUTLINE_COLOR, Color

_MARGIN: Final = 0.04  # of a person's diagonal: keypoints lie within people, not on their outline
_SMALL: Final = 1 / 60  # of the shorter side of the picture: the letters of small people
_READABLE: Final = 11  # pixels, where that is less
_SMALLEST: Final = 8  # pixels, in pictures so narrow that the label would not fit
_GROWTH: Final = 0.04  # of a person's diagonal: the letters of larger people
_LARGE: Final = 2  # times the small letters are the largest
_HEIGHT: Final = 1.3  # letters from the top to the bottom of a label
_PAD: Final = 0.3  # letters beside the text
_BORDER: Final = 0.12  # letters, the width of a box's lines


class Box(NamedTuple):
    """A rectangle that lies along the axes, in image pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class PersonLabel(NamedTuple):
    """A person who is told from others."""

    box: Box
    label: str  # "" for none
    color: Color


def make_label_box(points: np.ndarray) -> Box:
    """The box of a person, somewhat larger than that of the keypoints [N, 2] in image pixels."""
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    margin = _MARGIN * np.hypot(*(high - low)) + 1
    return Box(*(low - margin).tolist(), *(high + margin).tolist())


def draw_box(picture: np.ndarray, person: PersonLabel) -> None:
    """Draw the box of a person into the picture [H, W, 3] uint8 RGB."""
    far = 4 * max(picture.shape)  # OpenCV counts in 32 bits
    left, top, right, bottom = np.rint(np.clip(person.box, -far, far)).astype(int).tolist()
    line = max(1, round(_BORDER * _font_size(picture, person.box)))
    cv2.rectangle(picture, (left, top), (right, bottom), person.color, line)


def draw_labels(picture: np.ndarray, people: Sequence[PersonLabel]) -> None:
    """Write the labels of people into the picture [H, W, 3] uint8 RGB.

    Each stands by its box where it hides none before it, if there is such a place, and always
    inside the picture; people outside of it have none.
    """
    occupied: list[Box] = []
    whole = Box(0, 0, picture.shape[1], picture.shape[0])
    for person in people:
        if person.label and person.box.overlaps(whole):
            tile = _render_label(person, _font_size(picture, person.box), picture.shape[1])
            tile = tile[: picture.shape[0], : picture.shape[1]]
            places = _candidate_places(person.box, tile, picture)
            place = next((at for at in places if not any(map(at.overlaps, occupied))), places[0])
            left, top, right, bottom = map(int, place)
            picture[top:bottom, left:right] = tile
            occupied.append(place)


def _font_size(picture: np.ndarray, box: Box) -> int:
    """The height of a person's letters in pixels."""
    small = max(_READABLE, min(picture.shape[:2]) * _SMALL)
    diagonal = math.hypot(box.right - box.left, box.bottom - box.top)
    return round(min(max(small, _GROWTH * diagonal), _LARGE * small))


def _render_label(person: PersonLabel, font_size: int, width: int) -> np.ndarray:
    """A label on the person's color, in smaller letters where it is wider than the picture."""
    length = _font(font_size).getlength(person.label) + 2 * _PAD * font_size
    font_size = max(_SMALLEST, min(font_size, int(font_size * width / length)))
    font = _font(font_size)
    size = (
        math.ceil(font.getlength(person.label) + 2 * _PAD * font_size),
        round(_HEIGHT * font_size),
    )
    tile = Image.new("RGB", size, person.color)
    middle = (_PAD * font_size, size[1] / 2)
    ImageDraw.Draw(tile).text(middle, person.label, fill=OUTLINE_COLOR, font=font, anchor="lm")
    return np.asarray(tile)


@cache
def _font(font_size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font in a size, kept because it sets a text ten times faster after the first one."""
    return ImageFont.load_default(font_size)


def _candidate_places(box: Box, tile: np.ndarray, picture: np.ndarray) -> list[Box]:
    """Where a label may stand, the best place first: above the box, below it, in it."""
    height, width = tile.shape[:2]
    across = (box.left, box.right - width)
    down = (box.top - height, box.bottom, box.top, box.bottom - height)
    places = []
    for top in down:
        for left in across:
            x = round(min(max(left, 0), picture.shape[1] - width))
            y = round(min(max(top, 0), picture.shape[0] - height))
            places.append(Box(x, y, x + width, y + height))
    return places
