"""This file draws one person: outlines, lines and dots on a canvas of the person's own."""

import math
from typing import Final

import numpy as np

from tagpose.drawing.canvas import Canvas, blend, draw_dot, draw_line, fixed, open_canvas
from tagpose.drawing.hues import OUTLINE
from tagpose.drawing.look import Look, line_widths

_STROKES: Final = 130  # strokes (widths of a line of the body) on the diagonal of a person
_THINNEST: Final = 1.4  # pixels of a stroke, so that small people are seen
_RIM: Final = 0.4  # width of an outline, in widths of a line
_FINEST_RIM: Final = 0.3  # pixels of an outline that still keeps white from white


def draw_person(
    picture: np.ndarray,
    points: np.ndarray,
    opacities: np.ndarray,
    look: Look,
    *,
    line_width: float = 1.0,
) -> None:
    """Draw a person into the picture; lines grow with the person.

    Args:
        picture: [H, W, 3] uint8 RGB.
        points: [K, 2] in pixels of the picture; they may lie outside of it.
        opacities: [K] up to 1, and 0 for what is not drawn, nor the lines that end in it.
        look: of the skeleton.
        line_width: factor of the widths of lines and the sizes of dots.
    """
    shown = opacities > 0
    if not shown.any():
        return
    height, width = picture.shape[:2]
    # OpenCV counts in 32 bits; a keypoint that far outside only gives a direction.
    far = 4 * max(height, width)
    points = np.where(shown[:, None], points, 0.0).clip(-far, far)
    diagonal = float(np.hypot(*np.ptp(points[shown], axis=0)).clip(max=math.hypot(height, width)))
    stroke = line_width * max(_THINNEST, diagonal / _STROKES)
    rows, columns = _window(points[shown], 2 * stroke + 1, height, width)
    window = picture[rows, columns]
    if window.size == 0:
        return
    widths = line_widths(look, points, shown, stroke)
    corner = np.array([columns.start, rows.start])
    canvas = open_canvas(window, corner, diagonal, widths[shown].min())
    _draw_look(canvas, points, opacities, look, canvas.zoom * widths)
    blend(window, canvas)


def _window(points: np.ndarray, margin: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the image around points [N, 2]; empty where they miss the image."""
    size = np.array([width, height])
    low = np.floor(points.min(axis=0) - margin).clip(0, size).astype(int)
    high = np.ceil(points.max(axis=0) + margin + 1).clip(0, size).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _draw_look(
    canvas: Canvas, points: np.ndarray, opacities: np.ndarray, look: Look, widths: np.ndarray
) -> None:
    """Draw every outline, then every line and dot, the surest last, so that none hides a surer one.

    Args:
        canvas: drawn on.
        points: [K, 2] in image pixels.
        opacities: [K].
        look: of the skeleton.
        widths: [K] of the lines that end in each keypoint, in canvas pixels.
    """
    at, lines = canvas.place(points), look.lines.tolist()
    # Lines, then dots: where they are equally sure, a dot lies over the lines that end in it.
    opaque = np.concatenate([opacities[look.lines].min(axis=1), opacities])
    thin = np.concatenate([widths[look.lines].min(axis=1), widths])
    halves = thin * np.concatenate([np.full(len(lines), 0.5), look.dots])
    fills = np.concatenate([look.line_colours, look.colours])
    order = [i for i in np.argsort(opaque, kind="stable").tolist() if opaque[i] > 0]
    rims = (_RIM * thin).clip(min=_FINEST_RIM * canvas.zoom)
    for colours, reach in ((np.full_like(fills, OUTLINE), halves + rims), (fills, halves)):
        inks = np.rint(np.c_[colours, np.full(len(fills), 255)] * opaque[:, None]).tolist()
        thick = np.rint(2 * reach).clip(1).astype(int).tolist()
        radii = fixed(reach)
        for i in order:
            if i < len(lines):
                start, stop = lines[i]
                draw_line(canvas, at[start], at[stop], inks[i], thick[i])
            else:
                draw_dot(canvas, at[i - len(lines)], inks[i], radii[i])
