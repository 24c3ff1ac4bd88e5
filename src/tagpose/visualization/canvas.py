"""This file draws lines and dots that are smooth and may be thinner than a pixel, and see-through.

They are drawn on a layer of its own, enlarged, which is shrunk and blended with the image once.
"""

from typing import Any, Final, NamedTuple

import cv2
import numpy as np

_CANVAS: Final = 1000  # canvas pixels that the diagonal of a person is enlarged to, at least
_MIN_LINE_WIDTH: Final = (
    2.5  # canvas pixels of a line that keeps its width although that is rounded
)
_MAX_ZOOM: Final = 8
_FRACTION_BITS: Final = 4  # binary digits of OpenCV's coordinates that lie behind the point


class Canvas(NamedTuple):
    """An enlarged layer over the window of an image in which one person is drawn."""

    # Colors are multiplied by opacity, so that means over pixels are right where opacity changes.
    pixels: np.ndarray  # [zoom * rows, zoom * columns, 4] uint8 red, green, blue, opacity
    corner: np.ndarray  # [2] x, y of the window's first pixel in image pixels
    zoom: int  # canvas pixels per image pixel, a power of 2

    def to_canvas(self, points: np.ndarray) -> list[list[int]]:
        """Points [N, 2] in image pixels as OpenCV's fixed-point canvas pixels."""
        # The centre of a pixel is its index, here and there.
        return to_fixed_point((points - self.corner + 0.5) * self.zoom - 0.5)


def to_fixed_point(lengths: np.ndarray) -> Any:
    """Lengths [...] in canvas pixels as lists of OpenCV's fixed-point ones."""
    return np.rint(lengths * 2**_FRACTION_BITS).astype(np.int64).tolist()


def make_canvas(window: np.ndarray, corner: np.ndarray, diagonal: float, finest: float) -> Canvas:
    """An empty canvas.

    Args:
        window: [h, w, 3] of the image.
        corner: [2] x, y of the window's first pixel in image pixels.
        diagonal: of the person in image pixels; small people are enlarged more.
        finest: width of a line in image pixels; only fine lines need to be enlarged.
    """
    zoom = 1
    while (
        zoom < _MAX_ZOOM
        and zoom * finest < _MIN_LINE_WIDTH
        and (zoom == 1 or zoom * diagonal < _CANVAS)
    ):
        zoom *= 2
    height, width = window.shape[:2]
    return Canvas(np.zeros((zoom * height, zoom * width, 4), np.uint8), corner, zoom)


def draw_line(
    canvas: Canvas, start: list[int], stop: list[int], color: list[float], thickness: int
) -> None:
    """Replace what is under a line between two places.

    Args:
        canvas: drawn on.
        start: place.
        stop: place.
        color: red, green, blue, multiplied by opacity, and opacity; each from 0 to 255.
        thickness: in canvas pixels.
    """
    cv2.line(canvas.pixels, start, stop, color, thickness, cv2.LINE_AA, _FRACTION_BITS)


def draw_dot(canvas: Canvas, centre: list[int], color: list[float], radius: int) -> None:
    """Replace what is under a disc, with a radius in fixed-point canvas pixels."""
    cv2.circle(canvas.pixels, centre, radius, color, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)


def blend(window: np.ndarray, canvas: Canvas) -> None:
    """Lay the canvas over its window [h, w, 3] of the image, which is written to."""
    layer, zoom = canvas.pixels, canvas.zoom
    while zoom > 1:  # OpenCV halves several times faster than it takes larger means
        zoom //= 2
        size = (window.shape[1] * zoom, window.shape[0] * zoom)
        layer = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
    seen = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(layer, 3)), cv2.COLOR_GRAY2RGB)
    under = cv2.multiply(window, seen, scale=1 / 255)
    window[:] = cv2.add(under, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB))
