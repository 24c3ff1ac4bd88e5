"""Antialiased, translucent lines and dots with sub-pixel widths.

They are drawn on an enlarged layer, which is downsampled and blended with the image once.
"""

from typing import Any, Final, NamedTuple

import cv2
import numpy as np

_MIN_DIAGONAL: Final = 1000  # canvas pixels, of the person on an enlarged canvas
_MIN_LINE_WIDTH: Final = 2.5  # canvas pixels; rounding distorts the width of thinner lines
_MAX_ZOOM: Final = 8
_FRACTION_BITS: Final = 4  # fractional bits of OpenCV's fixed-point coordinates


class Canvas(NamedTuple):
    """Enlarged layer over the window of an image in which one person is drawn."""

    # Premultiplied alpha, so that averages over pixels are right where the opacity changes.
    pixels: np.ndarray  # [zoom * h, zoom * w, 4] uint8 RGBA
    corner: np.ndarray  # [2] x, y of the window's first pixel in image pixels
    zoom: int  # canvas pixels per image pixel, a power of 2

    def to_canvas(self, points: np.ndarray) -> list[list[int]]:
        """Convert points [N, 2] from image pixels to OpenCV's fixed-point canvas pixels."""
        # In both spaces, the center of a pixel is its index.
        return to_fixed_point((points - self.corner + 0.5) * self.zoom - 0.5)


def to_fixed_point(lengths: np.ndarray) -> Any:
    """Convert lengths [...] in canvas pixels to nested lists of OpenCV's fixed-point numbers."""
    return np.rint(lengths * 2**_FRACTION_BITS).astype(np.int64).tolist()


def make_canvas(
    window: np.ndarray, corner: np.ndarray, diagonal: float, min_line_width: float
) -> Canvas:
    """Return an empty canvas.

    Args:
        window: window [h, w, 3] of the image.
        corner: x, y [2] of the window's first pixel in image pixels.
        diagonal: diagonal of the person in image pixels; small people are enlarged more.
        min_line_width: width of the thinnest line in image pixels; wide lines need no enlarging.
    """
    zoom = 1
    while (
        zoom < _MAX_ZOOM
        and zoom * min_line_width < _MIN_LINE_WIDTH
        and (zoom == 1 or zoom * diagonal < _MIN_DIAGONAL)
    ):
        zoom *= 2
    height, width = window.shape[:2]
    return Canvas(np.zeros((zoom * height, zoom * width, 4), np.uint8), corner, zoom)


def draw_line(
    canvas: Canvas, start: list[int], stop: list[int], color: list[float], thickness: int
) -> None:
    """Draw a line on the canvas, replacing the pixels under it.

    Args:
        canvas: canvas to draw on, modified in place.
        start: x, y of one end in fixed-point canvas pixels.
        stop: x, y of the other end.
        color: RGBA with premultiplied alpha, each from 0 to 255.
        thickness: width in canvas pixels.
    """
    cv2.line(canvas.pixels, start, stop, color, thickness, cv2.LINE_AA, _FRACTION_BITS)


def draw_dot(canvas: Canvas, center: list[int], color: list[float], radius: int) -> None:
    """Draw a disc, replacing the pixels under it; lengths are in fixed-point canvas pixels."""
    cv2.circle(canvas.pixels, center, radius, color, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)


def blend(window: np.ndarray, canvas: Canvas) -> None:
    """Blend the canvas over its window [h, w, 3] of the image, which is modified in place."""
    layer, zoom = canvas.pixels, canvas.zoom
    while zoom > 1:  # several halvings are faster in OpenCV than one larger area average
        zoom //= 2
        size = (window.shape[1] * zoom, window.shape[0] * zoom)
        layer = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
    transparency = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(layer, 3)), cv2.COLOR_GRAY2RGB)
    background = cv2.multiply(window, transparency, scale=1 / 255)
    window[:] = cv2.add(background, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB))


def find_window(points: np.ndarray, margin: float, height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of the image around points [N, 2]; empty if outside the image."""
    size = np.array([width, height])
    low = np.floor(points.min(axis=0) - margin).clip(0, size).astype(int)
    high = np.ceil(points.max(axis=0) + margin + 1).clip(0, size).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def resize_for_drawing(image: np.ndarray, zoom: float) -> np.ndarray:
    """Resize an image [H, W, 3] uint8 before lines are drawn on it; enlarging makes them smooth."""
    if zoom == 1:
        return image
    size = [max(1, round(length * zoom)) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
