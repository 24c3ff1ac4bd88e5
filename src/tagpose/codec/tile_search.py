"""Best-first search for the maximum of heatmap - round(|tag - mean tag|) over input pixels.

See `missing_keypoints` for tiles and blocks.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.block_bounds import (
    BlockBounds,
    bound_block,
    bound_blocks,
    find_highest,
    set_bound,
)
from tagpose.codec.compilation import CHUNK, FALSE, TRUE, ZERO, Float, Int, compilable
from tagpose.codec.decoding_maps import DecodingMaps
from tagpose.codec.interpolation import Grid, lerp, sample_bilinear
from tagpose.codec.lazy_heatmap import LazyHeatmap, read_area
from tagpose.codec.tiling import BLOCK, Tiling, block_extent, first_tile


class SearchBuffers(NamedTuple):
    """Buffers for the search in one keypoint's maps."""

    bounds: np.ndarray  # [N] float32: upper bounds of blocks; see `BlockBounds`
    chunk_maxima: np.ndarray  # [N / CHUNK] float32: see `bound_blocks`
    lanes: np.ndarray  # [CHUNK] float32, for `find_highest`
    tiles: np.ndarray  # [BLOCK ** 2] float32: upper bounds of the tiles of a block, row by row
    heat: np.ndarray  # [BLOCK ** 2] float32: largest heatmap values of these tiles
    corners: np.ndarray  # [V, BLOCK + 1, BLOCK + 1] float32: tags at the corners of these tiles
    ends: np.ndarray  # [V, 2] float32: tags at both ends of a row of input pixels in a tile
    finite: np.ndarray  # [1] bool: whether all tags read are finite


@compilable
def search_argmax(
    heatmap: LazyHeatmap,
    maps: DecodingMaps,
    person_tag: np.ndarray,
    block_bounds: BlockBounds,
    buffers: SearchBuffers,
    max_work: Int,
) -> tuple[Int, Int, bool]:
    """Return the first input pixel with the largest value, searching blocks best first.

    Args:
        heatmap: heatmap of a keypoint.
        maps: network outputs of a batch.
        person_tag: mean tag [V] of a person.
        block_bounds: bounds of the keypoint's maps.
        buffers: scratch memory.
        max_work: work after which the search ends; at least one block is searched.

    Returns:
        The position y * W + x, the work spent, and whether the search was completed.
    """
    best, position, work = np.float32(-np.inf), np.int64(0), 0
    bounds, chunk_maxima = buffers.bounds, buffers.chunk_maxima
    input_width = len(maps.tag_grid.columns.near)
    ratio = input_width // maps.tags.shape[4]
    bound_blocks(block_bounds, person_tag, bounds, chunk_maxima)
    while True:
        block = find_highest(bounds, chunk_maxima, buffers.lanes)
        ceiling = bounds[block]
        row, column = first_tile(maps.tiling, block)
        is_later = _first_pixel_of_tile(row, column, ratio, input_width) > position
        # of blocks with equal bounds, the first one is searched first
        if ceiling < best or (ceiling == best and is_later) or ceiling == -np.inf:
            return position, work, True
        if work > max_work and best > -np.inf:
            return position, work, False
        work += len(chunk_maxima) // CHUNK + 2 * BLOCK**2  # reads tags and bounds tiles
        _read_block_tags(maps, heatmap, row, column, buffers)
        if block_bounds.low[0, block] == -np.inf:  # not read yet
            bound = bound_block(block_bounds, block, person_tag, buffers.corners)
            set_bound(bounds, chunk_maxima, block, bound)
            continue
        set_bound(bounds, chunk_maxima, block, np.float32(-np.inf))
        best, position, tiles_searched = _search_block(
            heatmap, maps, person_tag, block, ratio, buffers, best, position
        )
        work += tiles_searched * ratio * ratio


@compilable
def _search_block(
    heatmap: LazyHeatmap,
    maps: DecodingMaps,
    person_tag: np.ndarray,
    block: Int,
    ratio: Int,
    buffers: SearchBuffers,
    best: Float,
    position: Int,
) -> tuple[Float, Int, Int]:
    """Update the best value and its first position with the input pixels of a block.

    Returns:
        The best value, its position, and the number of tiles whose input pixels were evaluated.
    """
    input_width = len(maps.tag_grid.columns.near)
    row, column = first_tile(maps.tiling, block)
    if not heatmap.is_ready[block]:
        top, bottom = block_extent(maps.tiling, row)
        left, right = block_extent(maps.tiling, column)
        read_area(heatmap, top, left, bottom, right)
        heatmap.is_ready[block] = True
    _read_heat(heatmap.values, maps.tiling, row, column, buffers.heat)
    first, searched = _bound_tiles(person_tag, buffers), 0
    for index in range(-1, len(buffers.tiles)):  # in the same order as blocks
        tile = first if index < 0 else index
        bound, y, x = buffers.tiles[tile], row + tile // BLOCK, column + tile % BLOCK
        buffers.tiles[tile] = -np.inf
        if bound < best or bound == -np.inf:
            continue
        if bound == best and _first_pixel_of_tile(y, x, ratio, input_width) > position:
            continue
        searched += 1
        best, position = _search_tile(
            heatmap.values, person_tag, maps.heatmap_grid, maps.tag_grid, ratio, y, x, buffers,
            bound, best, position,
        )  # fmt: skip
    return best, position, searched


@compilable
def _read_block_tags(
    maps: DecodingMaps, heatmap: LazyHeatmap, row: Int, column: Int, buffers: SearchBuffers
) -> None:
    """Read the tags at the corners of the tiles of a block into `buffers.corners`.

    Tags that are not finite are set to 0 and reported in `buffers.finite`.

    Args:
        maps: network outputs of a batch.
        heatmap: heatmap of the keypoint.
        row: row of the first tile of the block.
        column: column of the first tile of the block.
        buffers: scratch memory.
    """
    image, tag_map = heatmap.image, maps.tag_index[heatmap.keypoint]
    _read_corners(maps.tags, image, tag_map, row, column, FALSE, buffers.corners, ZERO)
    _read_corners(
        maps.flipped_tags, image, maps.tag_flip_indices[tag_map], row, column, TRUE,
        buffers.corners, maps.tags.shape[1],
    )  # fmt: skip
    total = np.float32(0)
    for view in range(len(buffers.corners)):
        for down in range(BLOCK + 1):
            for across in range(BLOCK + 1):
                tag = buffers.corners[view, down, across]
                total += tag - tag
    if total != 0:
        buffers.finite[0] = False
        buffers.corners[:] = 0


@compilable
def _read_corners(
    tags: np.ndarray, image: Int, tag_map: Int, row: Int, column: Int, mirrored: bool,
    corners: np.ndarray, first: Int,
) -> None:  # fmt: skip
    """Read the tags at the corners of the tiles of a block, with replicated borders.

    Args:
        tags: tags [B, L, G, h, w].
        image: index of the image.
        tag_map: index of the tag map.
        row: row of the first tile of the block.
        column: column of the first tile of the block.
        mirrored: whether the tags are those of flipped images.
        corners: output [V, BLOCK + 1, BLOCK + 1].
        first: view that the first of L tags is written to.
    """
    height, width = tags.shape[3:]
    origin, step = (width - 1, -1) if mirrored else (0, 1)
    for view in range(tags.shape[1]):
        for down in range(BLOCK + 1):
            y = min(max(row + down - 1, 0), height - 1)
            for across in range(BLOCK + 1):
                x = min(max(column + across - 1, 0), width - 1)
                tag = tags[image, view, tag_map, y, origin + step * x]
                corners[first + view, down, across] = tag


@compilable
def _bound_tiles(person_tag: np.ndarray, buffers: SearchBuffers) -> Int:
    """Write the bounds of the tiles of a block, and return the first tile with the highest bound.

    Args:
        person_tag: mean tag [V] of a person.
        buffers: `heat` and `corners` are read; `tiles` is the output.
    """
    # loops over a constant number of tiles, which the compiler vectorizes
    for tile in range(BLOCK**2):
        buffers.tiles[tile] = 0
    for view in range(len(person_tag)):
        tag = person_tag[view]
        for down in range(BLOCK):
            for across in range(BLOCK):
                a, b = buffers.corners[view, down, across], buffers.corners[view, down, across + 1]
                c = buffers.corners[view, down + 1, across]
                d = buffers.corners[view, down + 1, across + 1]
                low, high = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
                gap = max(max(low - tag, tag - high), np.float32(0))
                buffers.tiles[down * BLOCK + across] += gap * gap
    for tile in range(BLOCK**2):
        buffers.tiles[tile] = buffers.heat[tile] - np.rint(np.sqrt(buffers.tiles[tile]))
    top = 0
    for tile in range(1, BLOCK**2):
        if buffers.tiles[tile] > buffers.tiles[top]:
            top = tile
    return top


@compilable
def _read_heat(
    heatmap: np.ndarray, tiling: Tiling, row: Int, column: Int, heat: np.ndarray
) -> None:
    """Read the largest heatmap value of each tile of a block.

    Args:
        heatmap: heatmap [h, w].
        tiling: tiling of the maps.
        row: row of the first tile of the block.
        column: column of the first tile of the block.
        heat: output [BLOCK ** 2], -inf outside of the map.
    """
    for down in range(BLOCK):
        for across in range(BLOCK):
            highest = np.float32(-np.inf)
            if row + down < tiling.rows and column + across < tiling.columns:
                highest = _tile_heat(heatmap, tiling, row + down, column + across)
            heat[down * BLOCK + across] = highest


@compilable
def _tile_heat(heatmap: np.ndarray, tiling: Tiling, row: Int, column: Int) -> Float:
    """Return the largest heatmap value around the input pixels of a tile."""
    y, x = tiling.first + tiling.step * row, tiling.first + tiling.step * column
    bottom = min(y + tiling.length, heatmap.shape[0])
    right = min(x + tiling.length, heatmap.shape[1])
    highest = np.float32(-np.inf)
    for near_y in range(min(max(y, 0), heatmap.shape[0] - 1), bottom):
        for near_x in range(min(max(x, 0), heatmap.shape[1] - 1), right):
            highest = max(highest, heatmap[near_y, near_x])
    return highest


@compilable
def _search_tile(
    heatmap: np.ndarray,
    person_tag: np.ndarray,
    heatmap_grid: Grid,
    tag_grid: Grid,
    ratio: Int,
    row: Int,
    column: Int,
    buffers: SearchBuffers,
    bound: Float,
    best: Float,
    position: Int,
) -> tuple[Float, Int]:
    """Update the best value and its first position with the input pixels of a tile.

    All input pixels of a tile lie between the same four tags, which are interpolated row by row,
    with the same arithmetic as in `sample_bilinear`. Values are clipped to the `bound` and the
    largest heatmap value of the tile, which they could exceed by rounding.
    """
    height, width = len(tag_grid.rows.near), len(tag_grid.columns.near)
    fine = heatmap.shape[1] * ratio != width
    down_index, across_index = row % BLOCK, column % BLOCK
    ceiling = buffers.heat[down_index * BLOCK + across_index]
    top, bottom = max(row - 1, 0), min(row, heatmap.shape[0] - 1)
    left, right = max(column - 1, 0), min(column, heatmap.shape[1] - 1)
    y0, x0 = (row - 1) * ratio + ratio // 2, (column - 1) * ratio + ratio // 2
    highest, high_left, high_right = ceiling, np.float32(0), np.float32(0)
    for y in range(max(y0, 0), min(y0 + ratio, height)):
        down, near_top = tag_grid.rows.weight[y], tag_grid.rows.near[y] == top
        if not fine:
            near, far = (top, bottom) if near_top else (bottom, top)
            high_left = lerp(heatmap[near, left], heatmap[far, left], down)
            high_right = lerp(heatmap[near, right], heatmap[far, right], down)
            highest = min(ceiling, max(high_left, high_right))
            if highest < best:
                continue
        _interpolate_corners(buffers, down_index, across_index, down, near_top)
        for x in range(max(x0, 0), min(x0 + ratio, width)):
            across, near_left = tag_grid.columns.weight[x], tag_grid.columns.near[x] == left
            if fine:
                score = min(sample_bilinear(heatmap, heatmap_grid, y, x), highest)
            else:
                score = min(_lerp_ends(high_left, high_right, across, near_left), highest)
            if score < best:
                continue
            distance = _tag_distance(buffers.ends, person_tag, across, near_left)
            value = min(score - np.rint(distance), bound)
            pixel = y * width + x
            if value > best or (value == best and pixel < position):
                best, position = value, pixel
    return best, position


@compilable
def _interpolate_corners(
    buffers: SearchBuffers, row: Int, column: Int, weight: Float, near_top: bool
) -> None:
    """Write the tags at both ends of a row of input pixels in a tile into `buffers.ends`.

    Args:
        buffers: `corners` is read; `ends` is the output.
        row: row of the tile in its block.
        column: column of the tile in its block.
        weight: weight of the farther corners.
        near_top: whether the upper corners are nearer.
    """
    near, far = row + (not near_top), row + near_top
    for view in range(len(buffers.ends)):
        for end in range(2):
            buffers.ends[view, end] = lerp(
                buffers.corners[view, near, column + end],
                buffers.corners[view, far, column + end],
                weight,
            )


@compilable
def _tag_distance(
    ends: np.ndarray, person_tag: np.ndarray, weight: Float, near_left: bool
) -> Float:
    """Return the distance between the tag at an input pixel and the mean tag of a person.

    Args:
        ends: tags [V, 2] at the ends of the row of input pixels.
        person_tag: mean tag [V] of the person.
        weight: weight of the farther end.
        near_left: whether the left end is nearer.
    """
    squared = np.float32(0)
    for view in range(len(person_tag)):
        tag = _lerp_ends(ends[view, 0], ends[view, 1], weight, near_left)
        squared += (tag - person_tag[view]) * (tag - person_tag[view])
    return np.sqrt(squared)


@compilable
def _lerp_ends(left: Float, right: Float, weight: Float, near_left: bool) -> Float:
    """Interpolate between the ends of a row of input pixels; `weight` is that of the farther."""
    return lerp(left, right, weight) if near_left else lerp(right, left, weight)


@compilable
def _first_pixel_of_tile(row: Int, column: Int, ratio: Int, input_width: Int) -> Int:
    """Return the first input pixel of a tile, y * W + x."""
    y, x = (row - 1) * ratio + ratio // 2, (column - 1) * ratio + ratio // 2
    return max(y, 0) * input_width + max(x, 0)
