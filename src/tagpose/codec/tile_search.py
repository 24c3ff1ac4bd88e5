"""Best-first search for the maximum of heatmap - round(|tag - mean tag|) over input pixels.

See `missing_keypoints` for tiles and blocks.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.block_bounds import BLOCK, BlockBounds, Span, bound_blocks
from tagpose.codec.compilation import FALSE, TRUE, Float, Int, compiled, inlined
from tagpose.codec.decoding_maps import DecodingMaps
from tagpose.codec.interpolation import Grid, lerp, sample_bilinear


class SearchBuffers(NamedTuple):
    """Buffers for the search in one keypoint's maps."""

    blocks: np.ndarray  # [blocks] float32: upper bounds of blocks
    tiles: np.ndarray  # [BLOCK ** 2] float32: upper bounds of the tiles of a block, row by row
    heat: np.ndarray  # [BLOCK ** 2] float32: largest heatmap values of these tiles
    corners: np.ndarray  # [V, BLOCK + 1, BLOCK + 1] float32: tags at the corners of these tiles
    ends: np.ndarray  # [V, 2] float32: tags at both ends of a row of input pixels in a tile


@compiled
def search_argmax(
    heatmap: np.ndarray,
    maps: DecodingMaps,
    image: Int,
    tag_map: Int,
    person_tag: np.ndarray,
    span: Span,
    block_bounds: BlockBounds,
    buffers: SearchBuffers,
    max_work: Int,
) -> tuple[Int, Int, bool]:
    """Search the first input pixel with the largest value.

    Args:
        heatmap: heatmap [h, w] of a keypoint.
        maps: network outputs of a batch.
        image: index of the image.
        tag_map: index of the keypoint's tag map.
        person_tag: mean tag [V] of a person.
        span: span of a tile.
        block_bounds: bounds of the keypoint's maps.
        buffers: scratch memory.
        max_work: work after which the search ends; the most promising block is always searched.

    Returns:
        The position y * W + x, the work spent, and whether the search was completed.
    """
    best, position, work = np.float32(-np.inf), np.int64(0), 0
    input_width, block_columns = len(maps.tag_grid.columns.near), block_bounds.heat.shape[1]
    ratio = input_width // maps.tags.shape[4]
    rows, columns = maps.tags.shape[3] + 1, maps.tags.shape[4] + 1  # of tiles
    partner, views = maps.tag_flip_indices[tag_map], maps.tags.shape[1]
    bound_blocks(block_bounds, person_tag, buffers.blocks)
    first = np.argmax(buffers.blocks)
    for index in range(-1, len(buffers.blocks)):  # the most promising block, then all the others
        block = first if index < 0 else index
        ceiling = buffers.blocks[block]
        if ceiling < best or index == first:
            continue
        row, column = block // block_columns * BLOCK, block % block_columns * BLOCK
        if ceiling == best and _first_pixel_of_tile(row, column, ratio, input_width) > position:
            continue
        if index >= 0 and work > max_work:
            return position, work, False
        _read_corners(maps.tags, image, tag_map, row, column, FALSE, buffers.corners, 0)
        _read_corners(
            maps.flipped_tags, image, partner, row, column, TRUE, buffers.corners, views
        )  # fmt: skip
        _read_heat(heatmap, span, rows, columns, row, column, buffers.heat)
        top = _bound_tiles(person_tag, buffers)
        work += len(buffers.tiles)
        for tile_index in range(-1, len(buffers.tiles)):  # in the same order as blocks
            tile = top if tile_index < 0 else tile_index
            bound = buffers.tiles[tile]
            if bound < best or bound == -np.inf or tile_index == top:
                continue
            y, x = row + tile // BLOCK, column + tile % BLOCK
            if bound == best and _first_pixel_of_tile(y, x, ratio, input_width) > position:
                continue
            work += ratio * ratio
            best, position = _search_tile(
                heatmap, person_tag, maps.heatmap_grid, maps.tag_grid, ratio, y, x, buffers, bound,
                best, position,
            )  # fmt: skip
    return position, work, True


@inlined
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


@inlined
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


@inlined
def _read_heat(
    heatmap: np.ndarray, span: Span, rows: Int, columns: Int, row: Int, column: Int,
    heat: np.ndarray,
) -> None:  # fmt: skip
    """Read the largest heatmap value of each tile of a block.

    Args:
        heatmap: heatmap [h, w].
        span: span of a tile.
        rows: number of rows of tiles in the map.
        columns: number of columns of tiles in the map.
        row: row of the first tile of the block.
        column: column of the first tile of the block.
        heat: output [BLOCK ** 2], -inf outside of the map.
    """
    for down in range(BLOCK):
        for across in range(BLOCK):
            highest = np.float32(-np.inf)
            if row + down < rows and column + across < columns:
                highest = _tile_heat(heatmap, span, row + down, column + across)
            heat[down * BLOCK + across] = highest


@inlined
def _tile_heat(heatmap: np.ndarray, span: Span, row: Int, column: Int) -> Float:
    """Return the largest heatmap value around the input pixels of a tile."""
    y, x = span.first + span.step * row, span.first + span.step * column
    bottom, right = min(y + span.length, heatmap.shape[0]), min(x + span.length, heatmap.shape[1])
    highest = np.float32(-np.inf)
    for near_y in range(min(max(y, 0), heatmap.shape[0] - 1), bottom):
        for near_x in range(min(max(x, 0), heatmap.shape[1] - 1), right):
            highest = max(highest, heatmap[near_y, near_x])
    return highest


@compiled
def _search_tile(  # noqa: C901 # not split, because calls would dominate the run time
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
        tags_ready = False
        for x in range(max(x0, 0), min(x0 + ratio, width)):
            across, near_left = tag_grid.columns.weight[x], tag_grid.columns.near[x] == left
            if fine:
                score = sample_bilinear(heatmap, heatmap_grid, y, x)
            elif near_left:
                score = lerp(high_left, high_right, across)
            else:
                score = lerp(high_right, high_left, across)
            score = min(score, highest)
            if score < best:
                continue
            if not tags_ready:
                near, far = down_index + (not near_top), down_index + near_top
                for view in range(len(person_tag)):
                    for end in range(2):
                        corner = across_index + end
                        buffers.ends[view, end] = lerp(
                            buffers.corners[view, near, corner],
                            buffers.corners[view, far, corner],
                            down,
                        )
                tags_ready = True
            squared = np.float32(0)
            for view in range(len(person_tag)):
                first, second = buffers.ends[view, 0], buffers.ends[view, 1]
                tag = lerp(first, second, across) if near_left else lerp(second, first, across)
                squared += (tag - person_tag[view]) * (tag - person_tag[view])
            value = min(score - np.rint(np.sqrt(squared)), bound)
            pixel = y * width + x
            if value > best or (value == best and pixel < position):
                best, position = value, pixel
    return best, position


@compiled
def _first_pixel_of_tile(row: Int, column: Int, ratio: Int, input_width: Int) -> Int:
    """Return the first input pixel of a tile, y * W + x."""
    y, x = (row - 1) * ratio + ratio // 2, (column - 1) * ratio + ratio // 2
    return max(y, 0) * input_width + max(x, 0)
