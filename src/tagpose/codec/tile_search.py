"""Best-first search for the maximum of heatmap - round(|tag - mean tag|) over input pixels.

See `missing_keypoints` for tiles and blocks.
"""

import numpy as np

from tagpose.codec.compilation import Float, Int, compiled
from tagpose.codec.interpolation import Grid, lerp, sample_bilinear
from tagpose.codec.tag_maps import BLOCK
from tagpose.codec.tile_bounds import bound_tiles


@compiled
def search_argmax(
    heatmap: np.ndarray,
    tags: np.ndarray,
    person_tag: np.ndarray,
    heatmap_grid: Grid,
    tag_grid: Grid,
    tiles: np.ndarray,
    block_columns: Int,
    bounds: np.ndarray,
    tile_bounds: np.ndarray,
    ends: np.ndarray,
    max_work: Int,
) -> tuple[Int, Int, bool]:
    """Search the first input pixel with the largest value.

    Args:
        heatmap: heatmap [h, w].
        tags: tags [V, h, w].
        person_tag: mean tag [V] of a person.
        heatmap_grid: grid of the heatmap.
        tag_grid: grid of the tags.
        tiles: largest heatmap values [tile rows, tile columns].
        block_columns: number of blocks in a row.
        bounds: upper bounds [blocks].
        tile_bounds: scratch memory [BLOCK ** 2].
        ends: scratch memory [V, 2].
        max_work: work after which the search ends; the most promising block is always searched.

    Returns:
        The position y * W + x, the work spent, and whether the search was completed.
    """
    best, position, work = np.float32(-np.inf), np.int64(0), 0
    input_width = len(tag_grid.columns.near)
    ratio = input_width // tags.shape[2]
    first = np.argmax(bounds)
    for index in range(-1, len(bounds)):  # the most promising block, then all that may be better
        block = first if index < 0 else index
        ceiling = bounds[block]
        if ceiling < best or index == first:
            continue
        row, column = block // block_columns * BLOCK, block % block_columns * BLOCK
        if ceiling == best and _first_pixel_of_tile(row, column, ratio, input_width) > position:
            continue
        if index >= 0 and work > max_work:
            return position, work, False
        top = bound_tiles(tiles, tags, person_tag, row, column, best, tile_bounds)
        work += len(tile_bounds)
        for tile_index in range(-1, len(tile_bounds)):  # in the same order as blocks
            tile = top if tile_index < 0 else tile_index
            bound = tile_bounds[tile]
            if bound < best or bound == -np.inf or tile_index == top:
                continue
            y, x = row + tile // BLOCK, column + tile % BLOCK
            if bound == best and _first_pixel_of_tile(y, x, ratio, input_width) > position:
                continue
            work += ratio * ratio
            best, position = _search_tile(
                heatmap, tags, person_tag, heatmap_grid, tag_grid, ratio, y, x, tiles[y, x], bound,
                ends, best, position,
            )  # fmt: skip
    return position, work, True


@compiled
def _search_tile(  # noqa: C901 # not split, because calls would dominate the run time
    heatmap: np.ndarray,
    tags: np.ndarray,
    person_tag: np.ndarray,
    heatmap_grid: Grid,
    tag_grid: Grid,
    ratio: Int,
    row: Int,
    column: Int,
    ceiling: Float,
    bound: Float,
    ends: np.ndarray,
    best: Float,
    position: Int,
) -> tuple[Float, Int]:
    """Update the best value and its first position with the input pixels of a tile.

    All input pixels of a tile lie between the same four tags, which are interpolated row by row,
    with the same arithmetic as in `sample_bilinear`. Values are clipped to the `ceiling` and
    `bound` of the tile, which they could exceed by rounding.
    """
    height, width = len(tag_grid.rows.near), len(tag_grid.columns.near)
    fine = heatmap.shape[1] != tags.shape[2]
    top, bottom = max(row - 1, 0), min(row, tags.shape[1] - 1)
    left, right = max(column - 1, 0), min(column, tags.shape[2] - 1)
    y0, x0 = (row - 1) * ratio + ratio // 2, (column - 1) * ratio + ratio // 2
    highest, high_left, high_right = ceiling, np.float32(0), np.float32(0)
    for y in range(max(y0, 0), min(y0 + ratio, height)):
        down, near_top = tag_grid.rows.weight[y], tag_grid.rows.near[y] == top
        near, far = (top, bottom) if near_top else (bottom, top)
        if not fine:
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
                for view in range(len(person_tag)):
                    ends[view, 0] = lerp(tags[view, near, left], tags[view, far, left], down)
                    ends[view, 1] = lerp(tags[view, near, right], tags[view, far, right], down)
                tags_ready = True
            squared = np.float32(0)
            for view in range(len(person_tag)):
                first, second = ends[view, 0], ends[view, 1]
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
