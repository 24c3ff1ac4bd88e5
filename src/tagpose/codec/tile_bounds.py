"""Upper bounds of heatmap - round(|tag - mean tag|) in tiles and in blocks of tiles.

See `missing_keypoints` for their use.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.compilation import Float, Int, compiled
from tagpose.codec.tag_maps import BLOCK


class Span(NamedTuple):
    """Heatmap pixels around the input pixels of a tile, along one axis."""

    first: int  # of tile 0; may be outside of the map, where the border is replicated
    length: int
    step: int  # between neighboring tiles


def heatmap_span(ratio: int, fine_ratio: int) -> Span:
    """Return the span of tiles between the centers of tag pixels, in heatmap pixels.

    Args:
        ratio: input pixels per tag pixel.
        fine_ratio: input pixels per heatmap pixel.
    """
    pixels = np.arange(-ratio + ratio // 2, ratio // 2)  # of tile 0
    near = pixels // fine_ratio
    far = near + np.sign(2 * (pixels % fine_ratio) + 1 - fine_ratio)
    first, last = min(near.min(), far.min()), max(near.max(), far.max())
    return Span(int(first), int(last - first + 1), ratio // fine_ratio)


@compiled
def bound_heatmap(heatmap: np.ndarray, span: Span, tiles: np.ndarray, blocks: np.ndarray) -> Float:
    """Write the largest heatmap value of each tile and block, and return that of the map.

    Args:
        heatmap: heatmap [h, w].
        span: span of a tile.
        tiles: output [tile rows, tile columns].
        blocks: output [block rows, block columns].
    """
    rows, columns = tiles.shape
    line = np.empty(span.step * (columns - 1) + span.length, np.float32)
    column_highest = np.empty(columns, np.float32)
    highest = np.float32(-np.inf)
    for block in range(blocks.shape[0]):
        column_highest[:] = -np.inf
        for row in range(block * BLOCK, min((block + 1) * BLOCK, rows)):
            _bound_tile_row(heatmap, span, row, line, tiles[row])
            for column in range(columns):
                column_highest[column] = max(column_highest[column], tiles[row, column])
        for column in range(blocks.shape[1]):
            block_highest = np.float32(-np.inf)
            for tile in range(column * BLOCK, min((column + 1) * BLOCK, columns)):
                block_highest = max(block_highest, column_highest[tile])
            blocks[block, column] = block_highest
            highest = max(highest, block_highest)
    return highest


@compiled
def _bound_tile_row(
    heatmap: np.ndarray, span: Span, row: Int, line: np.ndarray, highest: np.ndarray
) -> None:
    """Write the largest heatmap value of each tile of a row.

    Args:
        heatmap: heatmap [h, w].
        span: span of a tile.
        row: row of tiles.
        line: scratch memory for a row of the heatmap with replicated borders.
        highest: output [tile columns].
    """
    height, width = heatmap.shape
    first = span.first + span.step * row
    top, bottom = max(first, 0), min(first + span.length, height)
    inner = line[-span.first : -span.first + width]
    for x in range(width):
        inner[x] = heatmap[top, x]
    for y in range(top + 1, bottom):
        for x in range(width):
            inner[x] = max(inner[x], heatmap[y, x])
    line[: -span.first] = inner[0]
    line[-span.first + width :] = inner[width - 1]
    highest[:] = -np.inf
    for offset in range(span.length):
        if span.step == 1:  # a separate loop, because only contiguous values are vectorized
            for column in range(len(highest)):
                highest[column] = max(highest[column], line[offset + column])
        else:
            for column in range(len(highest)):
                highest[column] = max(highest[column], line[offset + span.step * column])


@compiled
def bound_blocks(
    blocks: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    person_tag: np.ndarray,
    bounds: np.ndarray,
) -> None:
    """Write an upper bound of heatmap - round(|tag - person_tag|) in each block.

    Args:
        blocks: largest heatmap values [block rows, block columns].
        low: smallest tags [V, block rows, block columns].
        high: largest tags [V, block rows, block columns].
        person_tag: mean tag [V] of a person.
        bounds: output [blocks].
    """
    ceilings = blocks.ravel()
    bounds[:] = 0
    for view in range(len(person_tag)):
        tag, smallest, largest = person_tag[view], low[view].ravel(), high[view].ravel()
        for block in range(len(bounds)):
            gap = max(max(smallest[block] - tag, tag - largest[block]), np.float32(0))
            bounds[block] += gap * gap
    for block in range(len(bounds)):
        bounds[block] = ceilings[block] - np.rint(np.sqrt(bounds[block]))


@compiled
def bound_tiles(
    tiles: np.ndarray,
    tags: np.ndarray,
    person_tag: np.ndarray,
    row: Int,
    column: Int,
    best: Float,
    bounds: np.ndarray,
) -> Int:
    """Write the bounds of the tiles of a block, and return the first tile with the highest bound.

    Args:
        tiles: largest heatmap values [tile rows, tile columns].
        tags: tags [V, h, w].
        person_tag: mean tag [V] of a person.
        row: row of the first tile of the block.
        column: column of the first tile of the block.
        best: best value so far; tiles that cannot reach it get the bound -inf.
        bounds: output [BLOCK ** 2], row by row.
    """
    top, highest = 0, np.float32(-np.inf)
    bounds[:] = -np.inf
    for y in range(row, min(row + BLOCK, tiles.shape[0])):
        for x in range(column, min(column + BLOCK, tiles.shape[1])):
            if tiles[y, x] < best:
                continue
            tile = (y - row) * BLOCK + x - column
            bounds[tile] = tiles[y, x] - np.rint(_tile_distance(tags, person_tag, y, x))
            if bounds[tile] > highest:
                top, highest = tile, bounds[tile]
    return top


@compiled
def _tile_distance(tags: np.ndarray, person_tag: np.ndarray, row: Int, column: Int) -> Float:
    """Return a lower bound of |tag - person_tag| in a tile, from the tags at its corners."""
    top, bottom = max(row - 1, 0), min(row, tags.shape[1] - 1)
    left, right = max(column - 1, 0), min(column, tags.shape[2] - 1)
    squared = np.float32(0)
    for view in range(len(person_tag)):
        a, b = tags[view, top, left], tags[view, top, right]
        c, d = tags[view, bottom, left], tags[view, bottom, right]
        low, high = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
        gap = max(max(low - person_tag[view], person_tag[view] - high), np.float32(0))
        squared += gap * gap
    return np.sqrt(squared)
