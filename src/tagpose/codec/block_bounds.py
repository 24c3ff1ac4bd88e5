"""Upper bounds of heatmap - round(|tag - mean tag|) in blocks of tiles; see `missing_keypoints`."""

from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import CHUNK, ZERO, Float, Int, compilable
from tagpose.codec.tiling import BLOCK, Tiling, block_extent, count_blocks

_WINDOW: Final = BLOCK + 1  # columns: those of a block if the heatmap has the size of the tags


class BlockBounds(NamedTuple):
    """Bounds of the heatmap and the tags of one keypoint in each block, row by row.

    N, the number of blocks, is padded to a multiple of CHUNK ** 2, with a `heat` of -inf. The range
    of tags is (-inf, inf) until the tags of the block are read.
    """

    heat: np.ndarray  # [N] float32: largest heatmap values
    low: np.ndarray  # [V, N] float32: smallest tags
    high: np.ndarray  # [V, N] float32: largest tags


def count_bounds(tiling: Tiling) -> int:
    """Return N, the number of blocks of a map rounded up to a multiple of CHUNK ** 2."""
    rows, columns = count_blocks(tiling)
    return -(-rows * columns // CHUNK**2) * CHUNK**2


@compilable
def bound_heatmap(
    heatmap: np.ndarray, tiling: Tiling, block_maxima: np.ndarray, lines: np.ndarray
) -> Float:
    """Write the largest value of a heatmap in each block.

    Args:
        heatmap: heatmap [h, w].
        tiling: tiling of the maps.
        block_maxima: output [N]; see `BlockBounds`.
        lines: scratch memory [4, w].

    Returns:
        The minimum of 0 and the heatmap, or -inf if the heatmap is not finite.
    """
    (height, width), (rows, columns) = heatmap.shape, count_blocks(tiling)
    for block in range(len(block_maxima)):
        block_maxima[block] = -np.inf
    for x in range(width):
        lines[2, x], lines[3, x] = 0, 0
    for row in range(rows):
        top, bottom = block_extent(tiling, row * BLOCK)
        _reduce_rows(heatmap, min(max(top, 0), height - 1), min(bottom, height), lines)
        for column in range(columns):
            left, right = block_extent(tiling, column * BLOCK)
            block_maxima[row * columns + column] = _reduce_columns(
                lines, min(max(left, 0), width - 1), min(right, width)
            )
    lowest, total = np.float32(0), np.float32(0)
    for x in range(width):
        lowest, total = min(lowest, lines[2, x]), total + lines[3, x]
    return lowest if total == 0 else np.float32(-np.inf)


@compilable
def _reduce_rows(values: np.ndarray, first: Int, last: Int, lines: np.ndarray) -> None:
    """Write the maximum of each column of some rows of a map, and update its minimum.

    Args:
        values: map [h, w].
        first: first row.
        last: end of the rows, exclusive.
        lines: scratch rows [4, w]: 0, the column maxima; 1, the maxima of the windows that start at
            each column; 2, running minima; 3, running sums that become NaN if a value is not
            finite.
    """
    width = values.shape[1]
    for x in range(width):
        lines[0, x] = values[first, x]
    while last - first >= 4:
        for x in range(width):
            a, b, c, d = (
                values[first, x], values[first + 1, x], values[first + 2, x], values[first + 3, x]
            )  # fmt: skip
            lines[0, x] = max(lines[0, x], max(max(a, b), max(c, d)))
            lines[2, x] = min(lines[2, x], min(min(a, b), min(c, d)))
            lines[3, x] += (a - a) + (b - b) + (c - c) + (d - d)
        first += 4
    for y in range(first, last):
        for x in range(width):
            lines[0, x] = max(lines[0, x], values[y, x])
            lines[2, x] = min(lines[2, x], values[y, x])
            lines[3, x] += values[y, x] - values[y, x]
    for x in range(width - _WINDOW + 1):
        highest = lines[0, x]
        for offset in range(1, _WINDOW):
            highest = max(highest, lines[0, x + offset])
        lines[1, x] = highest


@compilable
def _reduce_columns(lines: np.ndarray, left: Int, right: Int) -> Float:
    """Return the maximum of columns `left` to `right`; see `_reduce_rows`."""
    last = right - _WINDOW
    if last < left:
        highest = lines[0, left]
        for x in range(left + 1, right):
            highest = max(highest, lines[0, x])
        return highest
    highest = lines[1, last]
    for x in range(left, last, _WINDOW):  # windows may overlap
        highest = max(highest, lines[1, x])
    return highest


@compilable
def write_chunk_maxima(
    tiling: Tiling, row: Int, block_maxima: np.ndarray, chunks: np.ndarray
) -> None:
    """Write upper bounds of the values in the chunks of a row of a heatmap.

    They change at the first row of a row of blocks; otherwise they are left as they are.

    Args:
        tiling: tiling of the maps.
        row: row of the heatmap.
        block_maxima: largest heatmap values [N] of blocks.
        chunks: output, for CHUNK columns each.
    """
    columns, step = count_blocks(tiling)[1], tiling.step * BLOCK
    if row > 0 and (row - tiling.first) % step != 0:
        return
    start = (row - tiling.first) // step * columns
    for chunk in range(len(chunks)):
        chunks[chunk] = -np.inf
    for column in range(columns):
        left, right = block_extent(tiling, column * BLOCK)
        last = min((right - 1) // CHUNK, len(chunks) - 1)
        for chunk in range(max(left, 0) // CHUNK, last + 1):
            chunks[chunk] = max(chunks[chunk], block_maxima[start + column])


@compilable
def bound_blocks(
    block_bounds: BlockBounds,
    person_tag: np.ndarray,
    bounds: np.ndarray,
    chunk_maxima: np.ndarray,
) -> None:
    """Write an upper bound of heatmap - round(|tag - person_tag|) in each block.

    Args:
        block_bounds: bounds of the heatmap and the tags.
        person_tag: mean tag [V] of a person.
        bounds: output [N].
        chunk_maxima: output [N / CHUNK], the maxima of chunks of `bounds`.
    """
    for block in range(len(bounds)):
        bounds[block] = 0
    for view in range(len(person_tag)):
        low, high, tag = block_bounds.low[view], block_bounds.high[view], person_tag[view]
        for block in range(len(bounds)):
            bounds[block] += _squared_gap(low[block], high[block], tag)
    for block in range(len(bounds)):
        bounds[block] = block_bounds.heat[block] - np.rint(np.sqrt(bounds[block]))
    for chunk in range(len(chunk_maxima)):
        chunk_maxima[chunk] = _chunk_maximum(bounds, chunk)


@compilable
def bound_block(
    block_bounds: BlockBounds, block: Int, person_tag: np.ndarray, corners: np.ndarray
) -> Float:
    """Write the range of tags of a block, and return its bound; see `bound_blocks`.

    Args:
        block_bounds: bounds of the heatmap and the tags.
        block: index of the block.
        person_tag: mean tag [V] of a person.
        corners: tags [V, BLOCK + 1, BLOCK + 1] at the corners of the block's tiles.
    """
    squared = np.float32(0)
    for view in range(len(person_tag)):
        low = high = corners[view, 0, 0]
        for down in range(BLOCK + 1):
            for across in range(BLOCK + 1):
                low = min(low, corners[view, down, across])
                high = max(high, corners[view, down, across])
        block_bounds.low[view, block], block_bounds.high[view, block] = low, high
        squared += _squared_gap(low, high, person_tag[view])
    return block_bounds.heat[block] - np.rint(np.sqrt(squared))


@compilable
def _squared_gap(low: Float, high: Float, tag: Float) -> Float:
    """Return the squared distance between a tag and a range of tags, 0 within it."""
    gap = max(max(low - tag, tag - high), np.float32(0))
    return gap * gap


@compilable
def set_bound(bounds: np.ndarray, chunk_maxima: np.ndarray, block: Int, bound: Float) -> None:
    """Set the bound of a block and update the maximum of its chunk; see `bound_blocks`."""
    bounds[block] = bound
    chunk_maxima[block // CHUNK] = _chunk_maximum(bounds, block // CHUNK)


@compilable
def find_highest(bounds: np.ndarray, chunk_maxima: np.ndarray, lanes: np.ndarray) -> Int:
    """Return the first block with the highest bound.

    Args:
        bounds: bounds [N] of blocks.
        chunk_maxima: see `bound_blocks`.
        lanes: scratch memory [CHUNK].
    """
    for offset in range(CHUNK):
        lanes[offset] = -np.inf
    for first in range(0, len(chunk_maxima), CHUNK):
        for offset in range(CHUNK):
            lanes[offset] = max(lanes[offset], chunk_maxima[first + offset])
    highest = _chunk_maximum(lanes, ZERO)
    chunk = 0
    while chunk_maxima[chunk] != highest:
        chunk += 1
    block = chunk * CHUNK
    while bounds[block] != highest:
        block += 1
    return block


@compilable
def _chunk_maximum(values: np.ndarray, chunk: Int) -> Float:
    """Return the maximum of one chunk of values, of which there are a multiple of CHUNK."""
    highest = values[chunk * CHUNK]
    for offset in range(1, CHUNK):
        highest = max(highest, values[chunk * CHUNK + offset])
    return highest
