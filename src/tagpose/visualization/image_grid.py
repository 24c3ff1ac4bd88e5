"""This file lays pictures side by side and one above the other, with words over them."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_BACKGROUND: Final = 24  # grey level behind the pictures
_TEXT: Final = 235
_BAR: Final = 30  # pixels, height of a caption
_LETTERS: Final = 17  # pixels, height of its letters where they fit
_SMALLEST: Final = 8
_GAP: Final = 6  # pixels between pictures


def make_image_row(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """One row of pictures, each under its title; lower ones are centred on the tallest.

    Args:
        pictures: [H, W, 3] uint8 RGB each, at least one, in sizes of their own.
        titles: as many, in Latin letters (the font has few others); "" leaves the caption empty.

    Returns:
        [H, W, 3] uint8 RGB, a new array.

    Raises:
        ValueError: there are not as many titles as pictures, or no pictures at all.
    """
    height = max(picture.shape[0] for picture in pictures)
    columns = [
        np.concatenate([_caption(title, picture.shape[1]), _pad_to_height(picture, height)])
        for picture, title in zip(pictures, titles, strict=True)
    ]
    gap = _blank(height + _BAR, _GAP)
    return np.concatenate([piece for column in columns for piece in (gap, column)][1:], axis=1)


def make_image_grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of pictures, as from `make_image_row`, one above the other; narrower ones lie left.

    Args:
        rows: [H, W, 3] uint8 RGB each, at least one, in sizes of their own.

    Returns:
        [H, W, 3] uint8 RGB, a new array.

    Raises:
        ValueError: there are no rows.
    """
    width = max(row.shape[1] for row in rows)
    wide = [np.concatenate([row, _blank(row.shape[0], width - row.shape[1])], 1) for row in rows]
    gap = _blank(_GAP, width)
    return np.concatenate([piece for row in wide for piece in (gap, row)][1:])


def _blank(height: int, width: int) -> np.ndarray:
    """An empty picture."""
    return np.full((height, width, 3), _BACKGROUND, np.uint8)


def _pad_to_height(picture: np.ndarray, height: int) -> np.ndarray:
    """The picture between two strips that bring it to the height."""
    above = (height - picture.shape[0]) // 2
    padded = _blank(height, picture.shape[1])
    padded[above : above + picture.shape[0]] = picture
    return padded


def _caption(title: str, width: int) -> np.ndarray:
    """A bar with the title in letters that fit its width, down to the smallest readable."""
    bar = Image.fromarray(_blank(_BAR, width))
    length = ImageFont.load_default(_LETTERS).getlength(title) + 2 * _GAP
    letters = max(_SMALLEST, min(_LETTERS, int(_LETTERS * width / length)))
    ImageDraw.Draw(bar).text(
        (_GAP, _BAR / 2),
        title,
        fill=(_TEXT, _TEXT, _TEXT),
        font=ImageFont.load_default(letters),
        anchor="lm",
    )
    return np.asarray(bar)
