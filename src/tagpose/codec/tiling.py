"""Tiles and blocks of tiles of a map: their numbers, and the heatmap pixels around them."""

from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import Int, compilable

BLOCK: Final = 4  # tiles along a block


class Tiling(NamedTuple):
    """Tiles of the maps, and the heatmap pixels around the input pixels of each along one axis.

    A tile is the area between the centers of four tag pixels.
    """

    rows: int  # of tiles, one more than tag pixels
    columns: int  # of tiles
    first: int  # first heatmap pixel of tile 0; negative, where the border is replicated
    length: int  # heatmap pixels per tile
    step: int  # heatmap pixels between neighboring tiles


def make_tiling(tag_shape: tuple[int, int], ratio: int, fine_ratio: int) -> Tiling:
    """Return the tiling of tag maps.

    Args:
        tag_shape: height, width of the tag map.
        ratio: input pixels per tag pixel.
        fine_ratio: input pixels per heatmap pixel.
    """
    pixels = np.arange(-ratio + ratio // 2, ratio // 2)  # of tile 0
    near = pixels // fine_ratio
    far = near + np.sign(2 * (pixels % fine_ratio) + 1 - fine_ratio)
    first, last = min(near.min(), far.min()), max(near.max(), far.max())
    length = int(last - first + 1)
    return Tiling(tag_shape[0] + 1, tag_shape[1] + 1, int(first), length, ratio // fine_ratio)


@compilable
def count_blocks(tiling: Tiling) -> tuple[Int, Int]:
    """Return the number of rows and columns of blocks of a map."""
    return (tiling.rows + BLOCK - 1) // BLOCK, (tiling.columns + BLOCK - 1) // BLOCK


@compilable
def first_tile(tiling: Tiling, block: Int) -> tuple[Int, Int]:
    """Return the row and the column of the first tile of a block."""
    columns = count_blocks(tiling)[1]
    return block // columns * BLOCK, block % columns * BLOCK


@compilable
def block_extent(tiling: Tiling, tile: Int) -> tuple[Int, Int]:
    """Return the heatmap pixels around a block along one axis: the first one and their end.

    They may be outside of the heatmap, where the border is replicated.

    Args:
        tiling: tiling of the maps.
        tile: first tile of the block along this axis.
    """
    first = tiling.first + tiling.step * tile
    return first, first + tiling.step * (BLOCK - 1) + tiling.length
