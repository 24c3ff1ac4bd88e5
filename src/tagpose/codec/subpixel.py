"""Sub-pixel refinement of peaks."""

from typing import Final

import numpy as np

from tagpose.codec.compilation import Float, Int, compilable
from tagpose.codec.interpolation import Grid, sample_bilinear
from tagpose.structures import STRIDE

_MIN_LOG: Final = np.float32(1e-3)  # smallest heatmap value whose logarithm is taken


@compilable
def refine_peak(
    heatmap: np.ndarray, grid: Grid, y: Int, x: Int, subpixel: bool
) -> tuple[Float, Float]:
    """Return the sub-pixel position x, y of a peak in input pixels.

    Args:
        heatmap: heatmap [h, w].
        grid: grid of the heatmap.
        y: row of the peak in whole input pixels.
        x: column of the peak in whole input pixels.
        subpixel: whether the network was trained with sub-pixel targets: then the position is the
            maximum of the Gaussian through a map pixel and its neighbors, along each axis (a
            parabola through logarithms; Zhang 2020 writes it as a Taylor step). Otherwise it is the
            center of the input pixel, shifted by 0.25 toward the higher neighbor (Newell 2017).
    """
    height, width = len(grid.rows.near), len(grid.columns.near)
    if not subpixel:
        left = sample_bilinear(heatmap, grid, y, max(x - 1, 0))
        right = sample_bilinear(heatmap, grid, y, min(x + 1, width - 1))
        above = sample_bilinear(heatmap, grid, max(y - 1, 0), x)
        below = sample_bilinear(heatmap, grid, min(y + 1, height - 1), x)
        return x + (0.75 if right > left else 0.25), y + (0.75 if below > above else 0.25)
    ratio = width // heatmap.shape[1]
    # in heatmaps that were already upsampled, neighbors differ by interpolation only
    step = 1 if ratio > 1 else STRIDE
    row, column = y // ratio, x // ratio
    across = down = np.float32(0)
    if step <= column < heatmap.shape[1] - step:
        across = _vertex(
            heatmap[row, column - step], heatmap[row, column], heatmap[row, column + step]
        )
    if step <= row < heatmap.shape[0] - step:
        down = _vertex(
            heatmap[row - step, column], heatmap[row, column], heatmap[row + step, column]
        )
    center = (ratio - 1) / 2
    return ratio * (column + step * across) + center, ratio * (row + step * down) + center


@compilable
def _vertex(before: Float, center: Float, after: Float) -> Float:
    """Return the offset, from -0.5 to 0.5, of the maximum of the Gaussian through three values."""
    low = np.log(max(before, _MIN_LOG))
    middle = np.log(max(center, _MIN_LOG))
    high = np.log(max(after, _MIN_LOG))
    curvature = 2 * middle - low - high
    if not curvature > 0:
        return np.float32(0)
    return min(max((high - low) / (2 * curvature), np.float32(-0.5)), np.float32(0.5))
