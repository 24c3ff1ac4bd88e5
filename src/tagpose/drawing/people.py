"""This file draws people, found or annotated, on the image that shows them.

A person is drawn on an enlarged copy of the window around them, and the window is shrunk back: so
lines are smooth and may be thinner than a pixel, which the face of a small person needs.
"""

import math
from typing import Final, NamedTuple

import cv2
import numpy as np

from tagpose.drawing.palette import OUTLINE, Colour, Look, look_of
from tagpose.skeleton import Skeleton
from tagpose.structures import People

_STROKES: Final = 130  # strokes (widths of a line of the body) on the diagonal of a person
_RIM: Final = 0.4  # width of the outline, in widths of what it surrounds
_CANVAS: Final = 1000  # pixels that the diagonal of a small person is enlarged to
_MAX_ZOOM: Final = 8
_SHIFT: Final = 4  # binary digits of OpenCV's coordinates that lie behind the point


class _Canvas(NamedTuple):
    """The enlarged window of an image in which one person is drawn."""

    pixels: np.ndarray  # [zoom * rows, zoom * columns, 3] uint8 RGB
    corner: np.ndarray  # [2] x, y of the window's first pixel in image pixels
    zoom: int  # canvas pixels per image pixel
    stroke: float  # width of a line of the body in canvas pixels

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 2] in image pixels as OpenCV's fixed-point canvas pixels [N, 2] int64."""
        # The centre of a pixel is its index, here and there.
        canvas = (points - self.corner + 0.5) * self.zoom - 0.5
        return np.rint(canvas * 2**_SHIFT).astype(np.int64)


def draw_people(
    image: np.ndarray,
    people: People,
    skeleton: Skeleton,
    *,
    min_score: float = 0.1,
    min_person_score: float = 0.0,
) -> np.ndarray:
    """The image with people on it, the best of them in front; lines grow with the person.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        people: keypoints in pixels of that image; they may lie outside of it.
        skeleton: what the K keypoints are.
        min_score: keypoints below are not drawn, nor the lines that end in them.
        min_person_score: people below are not drawn.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    picture = image.copy()
    look = look_of(skeleton)
    for p in np.argsort(people.scores, kind="stable"):
        if people.scores[p] >= min_person_score:
            _draw_person(picture, people.keypoints[p], look, min_score)
    return picture


def draw_truth(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The image with annotated people on it, in the look of those that are found.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        keypoints: [P, K, 3] x, y in pixels of that image, v > 0 where labelled.
        skeleton: what the K keypoints are.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    found = np.concatenate([keypoints[..., :2], keypoints[..., 2:] > 0], axis=-1, dtype=np.float32)
    people = People(found, np.ones(len(found), np.float32))
    return draw_people(image, people, skeleton, min_score=1.0)


def _draw_person(picture: np.ndarray, keypoints: np.ndarray, look: Look, min_score: float) -> None:
    """Draw keypoints [K, 3] (x, y in image pixels, score) into the picture."""
    shown = (keypoints[:, 2] >= min_score) & np.isfinite(keypoints).all(axis=1)
    if not shown.any():
        return
    height, width = picture.shape[:2]
    # OpenCV counts in 32 bits; a keypoint that far outside only gives a direction.
    far = 4 * max(height, width)
    points = np.where(shown[:, None], keypoints[:, :2], 0.0).clip(-far, far)  # [K, 2]
    diagonal = float(np.hypot(*np.ptp(points[shown], axis=0)).clip(max=math.hypot(height, width)))
    stroke = max(1.0, diagonal / _STROKES)
    rows, columns = _window(points[shown], 2 * stroke + 1, height, width)
    window = picture[rows, columns]
    if window.size == 0:
        return
    zoom = int(np.clip(math.ceil(_CANVAS / max(diagonal, 1.0)), 1, _MAX_ZOOM))
    corner = np.array([columns.start, rows.start])
    pixels = window.repeat(zoom, axis=0).repeat(zoom, axis=1)
    _draw_look(_Canvas(pixels, corner, zoom, stroke * zoom), points, shown, look)
    # The mean over zoom x zoom pixels leaves exactly as it was what nothing was drawn on.
    window[:] = cv2.resize(pixels, window.shape[1::-1], interpolation=cv2.INTER_AREA)


def _window(points: np.ndarray, margin: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the image around points [N, 2]; empty where they miss the image."""
    size = np.array([width, height])
    low = np.floor(points.min(axis=0) - margin).clip(0, size).astype(int)
    high = np.ceil(points.max(axis=0) + margin + 1).clip(0, size).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _draw_look(canvas: _Canvas, points: np.ndarray, shown: np.ndarray, look: Look) -> None:
    """Draw every outline, then the lines, then the dots, so that none hides a keypoint."""
    at = canvas.place(points)
    lines = np.flatnonzero(shown[look.lines].all(axis=1))
    dots = np.flatnonzero(shown)
    for rim in (_RIM, 0.0):
        for s in lines:
            colour = OUTLINE if rim else _colour(look.line_colours[s])
            thickness = look.line_weights[s] * canvas.stroke * (1 + 2 * rim)
            _draw_line(canvas.pixels, at[look.lines[s]], colour, thickness)
        for k in dots:
            colour = OUTLINE if rim else _colour(look.colours[k])
            radius = look.weights[k] * canvas.stroke * (1 + rim)
            _draw_dot(canvas.pixels, at[k], colour, radius)


def _draw_line(pixels: np.ndarray, ends: np.ndarray, colour: Colour, thickness: float) -> None:
    """A line between two fixed-point places [2, 2]."""
    start, stop = ends.tolist()
    cv2.line(pixels, start, stop, colour, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)


def _draw_dot(pixels: np.ndarray, centre: np.ndarray, colour: Colour, radius: float) -> None:
    """A disc around a fixed-point place [2]."""
    fixed = round(radius * 2**_SHIFT)
    cv2.circle(pixels, centre.tolist(), fixed, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _colour(row: np.ndarray) -> Colour:
    """A row [3] of a table of colours as OpenCV takes it."""
    red, green, blue = row.tolist()
    return red, green, blue
