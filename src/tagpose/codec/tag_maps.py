"""Tags of one keypoint in an image, and their ranges in blocks of tiles.

A tile is the area between the centers of four map pixels; see `missing_keypoints`.
"""

from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import Int, compiled
from tagpose.codec.decoding_maps import DecodingMaps

BLOCK: Final = 8  # tiles along a block


class TagMap(NamedTuple):
    """Tags of one keypoint in an image, and their ranges in each block of tiles."""

    values: np.ndarray  # [V, h, w] float32
    low: np.ndarray  # [V, block rows, block columns] float32: minima
    high: np.ndarray  # [V, block rows, block columns] float32: maxima


@compiled
def read_tag_map(maps: DecodingMaps, image: Int, tag_map: Int, tags: TagMap) -> bool:
    """Read a tag map and the ranges of its blocks into `tags`, and return whether it is finite."""
    finite = _copy_tag_map(maps, image, tag_map, tags.values)
    buffer = np.empty((2, tags.values.shape[2]), np.float32)
    for view in range(len(tags.values)):
        for block_row in range(tags.low.shape[1]):
            low, high = tags.low[view, block_row], tags.high[view, block_row]
            _write_ranges(tags.values[view], block_row, buffer, low, high)
    return finite


@compiled
def _copy_tag_map(maps: DecodingMaps, image: Int, tag_map: Int, values: np.ndarray) -> bool:
    """Copy a tag map, and that of the flipped image if there is one, into `values` [V, h, w].

    Returns:
        Whether all tags are finite.
    """
    views, (height, width) = maps.tags.shape[1], maps.tags.shape[3:]
    partner = maps.tag_flip_indices[tag_map]
    difference = np.zeros(width, np.float32)  # one sum per column, so that the loop is vectorized
    for view in range(views):
        for y in range(height):
            for x in range(width):
                tag = maps.tags[image, view, tag_map, y, x]
                values[view, y, x] = tag
                difference[x] += tag - tag  # 0 if finite, else NaN
    for view in range(maps.flipped_tags.shape[1]):
        for y in range(height):
            for x in range(width):
                tag = maps.flipped_tags[image, view, partner, y, width - 1 - x]
                values[views + view, y, x] = tag
                difference[x] += tag - tag
    return difference.sum() == 0


@compiled
def _write_ranges(
    values: np.ndarray, block_row: Int, buffer: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    """Write the ranges of the tags in a row of blocks.

    Args:
        values: tags [h, w].
        block_row: index of the row of blocks.
        buffer: scratch memory [2, w].
        low: output [block columns], the minima.
        high: output [block columns], the maxima.
    """
    height, width = values.shape
    first = max(block_row * BLOCK - 1, 0)
    for x in range(width):
        buffer[0, x], buffer[1, x] = values[first, x], values[first, x]
    for y in range(first + 1, min((block_row + 1) * BLOCK, height)):
        for x in range(width):
            buffer[0, x] = min(buffer[0, x], values[y, x])
            buffer[1, x] = max(buffer[1, x], values[y, x])
    for column in range(len(low)):
        first = max(column * BLOCK - 1, 0)
        lowest, highest = buffer[0, first], buffer[1, first]
        for x in range(first + 1, min((column + 1) * BLOCK, width)):
            lowest, highest = min(lowest, buffer[0, x]), max(highest, buffer[1, x])
        low[column], high[column] = lowest, highest
