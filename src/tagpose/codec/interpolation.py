"""Bilinear interpolation of maps at single input pixels, without upsampling the maps."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tagpose.codec.compilation import Float, Int, compilable


class Axis(NamedTuple):
    """The two map pixels around each input pixel along one axis, and their weights.

    The weight is that of the farther map pixel and below 0.5, so equal map pixels give equal
    input pixels, and flipped maps give flipped input pixels, exactly.
    """

    near: np.ndarray  # [pixels] int32
    far: np.ndarray  # [pixels] int32; equal to `near` outside the outer map pixels
    weight: np.ndarray  # [pixels] float32, of `far`


class Grid(NamedTuple):
    """Interpolation of maps of one size at the pixels of the network's input."""

    rows: Axis
    columns: Axis


def make_grid(map_size: tuple[int, int], input_shape: tuple[int, int]) -> Grid:
    """Return the grid of maps of size (h, w) for a network input of size (H, W)."""
    rows, columns = map(_make_axis, map_size, input_shape)
    return Grid(rows, columns)


@lru_cache(maxsize=64)
def _make_axis(length: int, pixels: int) -> Axis:
    """Return the axis for `pixels` input pixels and `length` map pixels (align_corners=False)."""
    ratio = pixels // length
    near = np.arange(pixels, dtype=np.int32) // ratio
    doubled = 2 * (np.arange(pixels) % ratio) + 1 - ratio  # distance in half input pixels, exact
    far = np.clip(near + np.sign(doubled), 0, length - 1).astype(np.int32)
    return Axis(near, far, (np.abs(doubled) / (2 * ratio)).astype(np.float32))


@compilable
def lerp(near: Float, far: Float, weight: Float) -> Float:
    """Interpolate linearly; `weight` is the weight of `far`."""
    return near + weight * (far - near)


@compilable
def sample_bilinear(values: np.ndarray, grid: Grid, y: Int, x: Int) -> Float:
    """Interpolate a map [h, w] at an input pixel."""
    row, far_row, down = grid.rows.near[y], grid.rows.far[y], grid.rows.weight[y]
    column, far_column, across = grid.columns.near[x], grid.columns.far[x], grid.columns.weight[x]
    near = lerp(values[row, column], values[far_row, column], down)
    far = lerp(values[row, far_column], values[far_row, far_column], down)
    return lerp(near, far, across)
