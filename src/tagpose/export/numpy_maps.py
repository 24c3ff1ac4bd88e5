"""This file reads enlarged maps with numpy, at single pixels and in squares of them.

It goes into exported folders as it stands, as its neighbours do; `codec` does the same with torch.
"""

from typing import Final

import numpy as np

LEAST: Final = np.float32(1e-3)  # of a heatmap's value whose logarithm is taken
AROUND: Final = 3  # cells of a square that holds all that its middle cell's pixels lie between


def enlarged(maps: np.ndarray, x: np.ndarray, y: np.ndarray, ratio: int) -> np.ndarray:
    """What maps hold at input pixels when they are enlarged bilinearly, corners not aligned.

    A pixel lies between its own cell and the next one on its side. Equal cells give equal pixels.

    Args:
        maps: [..., h, w].
        x: int64, input pixels; it broadcasts with `y`.
        y: int64, input pixels.
        ratio: input pixels per cell.

    Returns:
        [..., *the broadcast shape] float32.
    """
    row, next_row, down = _between(y, maps.shape[-2], ratio)
    column, next_column, across = _between(x, maps.shape[-1], ratio)
    own, other = (
        maps[..., row, at] + down * (maps[..., next_row, at] - maps[..., row, at])
        for at in (column, next_column)
    )
    return own + across * (other - own)


def _between(at: np.ndarray, cells: int, ratio: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along an axis: the cells of pixels, the ones that they lie toward, and the latters' share."""
    own, toward = at // ratio, (at % ratio + 0.5) / ratio - 0.5
    other = np.clip(own + np.where(toward < 0, -1, 1), 0, cells - 1)
    return own, other, np.abs(toward).astype(np.float32)


def square(
    columns: np.ndarray, rows: np.ndarray, ratio: int, reach: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels x [n, 1, side], y [n, side, 1] of n cells, and those around within a reach."""
    offset = np.arange(-reach, ratio + reach)
    return columns[:, None, None] * ratio + offset, rows[:, None, None] * ratio + offset[:, None]


def tops(heatmap: np.ndarray, x: np.ndarray, y: np.ndarray, ratio: int) -> np.ndarray:
    """Tops of the Gaussians through the cells of pixels and their neighbours, along each axis.

    Arguments and result are those of `between_pixels`.
    """
    places, (column, row) = [], (x // ratio, y // ratio)
    height, width = heatmap.shape
    for at, down, across, length in ((column, 0, 1, width), (row, 1, 0, height)):
        inside = ((at >= 1) & (at < length - 1)).astype(np.int64)
        steps = (to * inside for to in (-1, 0, 1))
        values = (heatmap[row + down * to, column + across * to] for to in steps)
        before, here, after = (np.log(np.maximum(value, LEAST)) for value in values)
        bend = 2 * here - before - after
        top = np.where(bend > 0, (after - before) / (2 * np.where(bend > 0, bend, 1)), 0)
        places.append(ratio * (at + np.clip(top, -0.5, 0.5)) + (ratio - 1) / 2)
    return np.stack(places, axis=-1)


def between_pixels(heatmap: np.ndarray, x: np.ndarray, y: np.ndarray, ratio: int) -> np.ndarray:
    """Places of peaks: the middle of the pixel, and a quarter toward the higher neighbour.

    Args:
        heatmap: [h, w].
        x: [n] int64, input pixels.
        y: [n] int64, input pixels.
        ratio: input pixels per cell.

    Returns:
        [n, 2] x, y in input pixels.
    """
    height, width = (ratio * side for side in heatmap.shape)
    left, right = (enlarged(heatmap, np.clip(x + to, 0, width - 1), y, ratio) for to in (-1, 1))
    above, below = (enlarged(heatmap, x, np.clip(y + to, 0, height - 1), ratio) for to in (-1, 1))
    higher = np.stack([right > left, below > above], axis=-1)
    return np.stack([x, y], axis=-1) + 0.5 + np.where(higher, 0.25, -0.25)
