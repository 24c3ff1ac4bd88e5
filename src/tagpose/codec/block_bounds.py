"""Upper bounds of heatmap - round(|tag - mean tag|) in blocks of tiles.

A tile is the area between the centers of four map pixels; see `missing_keypoints`.
"""

from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import CHUNK, FALSE, TRUE, ZERO, Float, Int, compiled
from tagpose.codec.decoding_maps import DecodingMaps, Span

BLOCK: Final = 4  # tiles along a block
_TAG_SPAN: Final = Span(-1, 2, 1)  # of a tile in tag pixels
_WINDOW: Final = BLOCK + 1  # tag pixels around the tiles of a block, along one axis


class BlockBounds(NamedTuple):
    """Bounds of the heatmap and the tags of one keypoint in each block, row by row.

    The number of entries, N, is a multiple of CHUNK; the largest heatmap values of the last ones,
    which are no blocks, are -inf.
    """

    heat: np.ndarray  # [N] float32: largest heatmap values
    low: np.ndarray  # [V, N] float32: smallest tags
    high: np.ndarray  # [V, N] float32: largest tags


def count_bounds(maps: DecodingMaps) -> int:
    """Return N, the number of blocks of a map rounded up to a multiple of CHUNK."""
    height, width = maps.tags.shape[3:]
    return -(-(height // BLOCK + 1) * (width // BLOCK + 1) // CHUNK) * CHUNK


@compiled
def bound_heatmap(
    heatmap: np.ndarray, span: Span, heat: np.ndarray, low: np.ndarray, lines: np.ndarray
) -> Float:
    """Write the largest value of a heatmap in each block.

    Args:
        heatmap: heatmap [h, w].
        span: span of a tile.
        heat: output [N]; see `BlockBounds`.
        low: scratch memory [N].
        lines: scratch memory [5, w].

    Returns:
        The minimum of 0 and the heatmap, or -inf if the heatmap is not finite.
    """
    for block in range(len(heat)):
        heat[block], low[block] = -np.inf, 0
    finite = _write_ranges(heatmap, span, FALSE, low, heat, lines)
    lowest = np.float32(0)
    for block in range(len(low)):
        lowest = min(lowest, low[block])
    return lowest if finite else np.float32(-np.inf)


@compiled
def bound_tags(
    maps: DecodingMaps, image: Int, tag_map: Int, bounds: BlockBounds, lines: np.ndarray
) -> bool:
    """Write the ranges of the tags in each block into `bounds`.

    Args:
        maps: network outputs of a batch.
        image: index of the image.
        tag_map: index of the tag map.
        bounds: `low` and `high` are outputs.
        lines: scratch memory [5, w].

    Returns:
        Whether all tags are finite.
    """
    views, finite = maps.tags.shape[1], True
    for view in range(views):
        tags = maps.tags[image, view, tag_map]
        finite &= _write_ranges(tags, _TAG_SPAN, FALSE, bounds.low[view], bounds.high[view], lines)
    partner = maps.tag_flip_indices[tag_map]
    for view in range(maps.flipped_tags.shape[1]):
        tags, index = maps.flipped_tags[image, view, partner], views + view
        finite &= _write_ranges(tags, _TAG_SPAN, TRUE, bounds.low[index], bounds.high[index], lines)
    return finite


@compiled
def _write_ranges(
    values: np.ndarray,
    span: Span,
    mirrored: bool,
    low: np.ndarray,
    high: np.ndarray,
    lines: np.ndarray,
) -> bool:
    """Write the ranges of a map in each block.

    Args:
        values: map [h, w].
        span: span of a tile in pixels of this map.
        mirrored: whether the map is that of a flipped image.
        low: output [N], the minima.
        high: output [N], the maxima.
        lines: scratch memory [5, w].

    Returns:
        Whether all values are finite.
    """
    height, width = values.shape
    step, size = span.step * BLOCK, span.step * (BLOCK - 1) + span.length
    columns = width // step + 1
    for x in range(width):
        lines[2, x] = 0
    for row in range(height // step + 1):
        top = span.first + row * step
        _reduce_rows(values, min(max(top, 0), height - 1), min(top + size, height), lines)
        for column in range(columns):
            left = span.first + column * step
            left, right = min(max(left, 0), width - 1), min(left + size, width)
            if mirrored:
                left, right = width - right, width - left
            block = row * columns + column
            low[block], high[block] = _reduce_columns(lines, left, right)
    total = np.float32(0)
    for x in range(width):
        total += lines[2, x]
    return total == 0


@compiled
def _reduce_rows(values: np.ndarray, first: Int, last: Int, lines: np.ndarray) -> None:
    """Write the minimum and maximum of each column of some rows of a map.

    Args:
        values: map [h, w].
        first: first row.
        last: end of the rows, exclusive.
        lines: output [5, w]: minima, maxima, a sum that becomes NaN if a value is not finite, and
            the minima and maxima in windows of columns, of which the column is the first.
    """
    width = values.shape[1]
    for x in range(width):
        lines[0, x], lines[1, x] = values[first, x], values[first, x]
    while last - first >= 4:
        for x in range(width):
            a, b, c, d = (
                values[first, x], values[first + 1, x], values[first + 2, x], values[first + 3, x]
            )  # fmt: skip
            lines[0, x] = min(lines[0, x], min(min(a, b), min(c, d)))
            lines[1, x] = max(lines[1, x], max(max(a, b), max(c, d)))
            lines[2, x] += (a - a) + (b - b) + (c - c) + (d - d)
        first += 4
    for y in range(first, last):
        for x in range(width):
            lines[0, x] = min(lines[0, x], values[y, x])
            lines[1, x] = max(lines[1, x], values[y, x])
            lines[2, x] += values[y, x] - values[y, x]
    for x in range(width - _WINDOW + 1):
        lowest, highest = lines[0, x], lines[1, x]
        for offset in range(1, _WINDOW):
            lowest = min(lowest, lines[0, x + offset])
            highest = max(highest, lines[1, x + offset])
        lines[3, x], lines[4, x] = lowest, highest


@compiled
def _reduce_columns(lines: np.ndarray, left: Int, right: Int) -> tuple[Float, Float]:
    """Return the minimum and maximum of columns `left` to `right`; see `_reduce_rows`."""
    last = right - _WINDOW
    if last < left:
        lowest, highest = lines[0, left], lines[1, left]
        for x in range(left + 1, right):
            lowest, highest = min(lowest, lines[0, x]), max(highest, lines[1, x])
        return lowest, highest
    lowest, highest = lines[3, last], lines[4, last]
    for x in range(left, last, _WINDOW):  # windows may overlap
        lowest, highest = min(lowest, lines[3, x]), max(highest, lines[4, x])
    return lowest, highest


@compiled
def write_chunk_maxima(
    maps: DecodingMaps, row: Int, block_maxima: np.ndarray, chunks: np.ndarray
) -> None:
    """Write upper bounds of the values in the chunks of a row of a heatmap.

    They change at the first row of a row of blocks; otherwise they are left as they are.

    Args:
        maps: network outputs of a batch.
        row: row of the heatmap.
        block_maxima: largest heatmap values [N] of blocks.
        chunks: output, for CHUNK columns each.
    """
    span, columns = maps.span, maps.tags.shape[4] // BLOCK + 1
    step, size = span.step * BLOCK, span.step * (BLOCK - 1) + span.length
    if row > 0 and (row - span.first) % step != 0:
        return
    start = (row - span.first) // step * columns
    for chunk in range(len(chunks)):
        chunks[chunk] = -np.inf
    for column in range(columns):
        left, maximum = span.first + column * step, block_maxima[start + column]
        last = min((left + size - 1) // CHUNK, len(chunks) - 1)
        for chunk in range(max(left, 0) // CHUNK, last + 1):
            chunks[chunk] = max(chunks[chunk], maximum)


@compiled
def bound_blocks(block_bounds: BlockBounds, person_tag: np.ndarray, bounds: np.ndarray) -> None:
    """Write an upper bound of heatmap - round(|tag - person_tag|) in each block.

    Args:
        block_bounds: bounds of the heatmap and the tags.
        person_tag: mean tag [V] of a person.
        bounds: output [N].
    """
    for block in range(len(bounds)):
        bounds[block] = 0
    for view in range(len(person_tag)):
        low, high, tag = block_bounds.low[view], block_bounds.high[view], person_tag[view]
        for block in range(len(bounds)):
            gap = max(max(low[block] - tag, tag - high[block]), np.float32(0))
            bounds[block] += gap * gap
    for block in range(len(bounds)):
        bounds[block] = block_bounds.heat[block] - np.rint(np.sqrt(bounds[block]))


@compiled
def find_highest(bounds: np.ndarray, lanes: np.ndarray) -> Int:
    """Return the first block with the highest bound.

    Args:
        bounds: bounds [N] of blocks.
        lanes: scratch memory [CHUNK].
    """
    highest = _find_maximum(bounds, lanes)
    for first in range(0, len(bounds), CHUNK):
        found = False
        for offset in range(CHUNK):
            found |= bounds[first + offset] == highest
        if found:
            block = first
            while bounds[block] != highest:
                block += 1
            return block
    return ZERO


@compiled
def _find_maximum(bounds: np.ndarray, lanes: np.ndarray) -> Float:
    """Return the maximum of the bounds, from the maximum of each CHUNK-th one."""
    for offset in range(CHUNK):
        lanes[offset] = -np.inf
    for first in range(0, len(bounds), CHUNK):
        for offset in range(CHUNK):
            lanes[offset] = max(lanes[offset], bounds[first + offset])
    highest = lanes[0]
    for offset in range(1, CHUNK):
        highest = max(highest, lanes[offset])
    return highest
