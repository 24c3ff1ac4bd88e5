"""Upper bounds of heatmap - round(|tag - mean tag|) in blocks of tiles.

A tile is the area between the centers of four map pixels; see `missing_keypoints`.
"""

from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import FALSE, TRUE, Float, Int, compiled, inlined
from tagpose.codec.decoding_maps import DecodingMaps

BLOCK: Final = 4  # tiles along a block


class Span(NamedTuple):
    """Heatmap pixels around the input pixels of a tile, along one axis."""

    first: int  # of tile 0; may be outside of the map, where the border is replicated
    length: int
    step: int  # between neighboring tiles


class BlockBounds(NamedTuple):
    """Bounds of the heatmap and the tags of one keypoint in each block."""

    heat: np.ndarray  # [block rows, block columns] float32: largest heatmap values
    low: np.ndarray  # [V, block rows, block columns] float32: smallest tags
    high: np.ndarray  # [V, block rows, block columns] float32: largest tags


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
def bound_heatmap(heatmap: np.ndarray, span: Span, heat: np.ndarray) -> Float:
    """Write the largest value of a heatmap [h, w] in each block, and return that of the map."""
    highest = np.float32(-np.inf)
    line = np.empty(heatmap.shape[1], np.float32)
    size = span.step * (BLOCK - 1) + span.length
    for row in range(heat.shape[0]):
        first = span.first + span.step * BLOCK * row
        top = min(max(first, 0), heatmap.shape[0] - 1)
        for x in range(len(line)):
            line[x] = heatmap[top, x]
        for y in range(top + 1, min(first + size, heatmap.shape[0])):
            for x in range(len(line)):
                line[x] = max(line[x], heatmap[y, x])
        for column in range(heat.shape[1]):
            left = span.first + span.step * BLOCK * column
            block_highest = line[min(max(left, 0), len(line) - 1)]
            for x in range(max(left, 0) + 1, min(left + size, len(line))):
                block_highest = max(block_highest, line[x])
            heat[row, column] = block_highest
            highest = max(highest, block_highest)
    return highest


@compiled
def bound_tags(maps: DecodingMaps, image: Int, tag_map: Int, bounds: BlockBounds) -> bool:
    """Write the ranges of the tags in each block into `bounds`.

    Returns:
        Whether all tags are finite.
    """
    views, finite = maps.tags.shape[1], True
    buffer = np.empty((3, maps.tags.shape[4]), np.float32)
    for view in range(views):
        tags = maps.tags[image, view, tag_map]
        finite &= _write_ranges(tags, bounds.low[view], bounds.high[view], buffer, FALSE)
    partner = maps.tag_flip_indices[tag_map]
    for view in range(maps.flipped_tags.shape[1]):
        tags, index = maps.flipped_tags[image, view, partner], views + view
        finite &= _write_ranges(tags, bounds.low[index], bounds.high[index], buffer, TRUE)
    return finite


@compiled
def _write_ranges(
    tags: np.ndarray, low: np.ndarray, high: np.ndarray, buffer: np.ndarray, mirrored: bool
) -> bool:
    """Write the ranges of a tag map in each block.

    Args:
        tags: tags [h, w].
        low: output [block rows, block columns], the minima.
        high: output [block rows, block columns], the maxima.
        buffer: scratch memory [3, w].
        mirrored: whether the tags are those of a flipped image.

    Returns:
        Whether all tags are finite.
    """
    height, width = tags.shape
    for x in range(width):
        buffer[2, x] = 0
    for row in range(low.shape[0]):
        first, last = max(row * BLOCK - 1, 0), min((row + 1) * BLOCK, height)
        _reduce_rows(tags, first, last, buffer)
        for column in range(low.shape[1]):
            left, right = max(column * BLOCK - 1, 0), min((column + 1) * BLOCK, width)
            if mirrored:
                left, right = width - right, width - left
            lowest, highest = buffer[0, left], buffer[1, left]
            for x in range(left + 1, right):
                lowest, highest = min(lowest, buffer[0, x]), max(highest, buffer[1, x])
            low[row, column], high[row, column] = lowest, highest
    return buffer[2].sum() == 0


@inlined
def _reduce_rows(tags: np.ndarray, first: Int, last: Int, buffer: np.ndarray) -> None:
    """Write the minimum and maximum of each column of some rows of a tag map.

    Args:
        tags: tags [h, w].
        first: first row.
        last: end of the rows, exclusive.
        buffer: output [3, w]: minima, maxima, and a sum that becomes NaN if a tag is not finite.
    """
    for x in range(tags.shape[1]):
        buffer[0, x], buffer[1, x] = tags[first, x], tags[first, x]
    for y in range(first, last):
        for x in range(tags.shape[1]):
            buffer[0, x] = min(buffer[0, x], tags[y, x])
            buffer[1, x] = max(buffer[1, x], tags[y, x])
            buffer[2, x] += tags[y, x] - tags[y, x]


@compiled
def bound_blocks(block_bounds: BlockBounds, person_tag: np.ndarray, bounds: np.ndarray) -> None:
    """Write an upper bound of heatmap - round(|tag - person_tag|) in each block.

    Args:
        block_bounds: bounds of the heatmap and the tags.
        person_tag: mean tag [V] of a person.
        bounds: output [blocks], row by row.
    """
    heat = block_bounds.heat.ravel()
    for block in range(len(bounds)):
        bounds[block] = 0
    for view in range(len(person_tag)):
        low, high = block_bounds.low[view].ravel(), block_bounds.high[view].ravel()
        tag = person_tag[view]
        for block in range(len(bounds)):
            gap = max(max(low[block] - tag, tag - high[block]), np.float32(0))
            bounds[block] += gap * gap
    for block in range(len(bounds)):
        bounds[block] = heat[block] - np.rint(np.sqrt(bounds[block]))
