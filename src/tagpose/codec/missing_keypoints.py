"""Fill in a person's missing keypoints from the heatmaps and the person's mean tag.

The position of a missing keypoint is the first maximum of heatmap - round(|tag - mean tag|) over
all input pixels (Newell 2017's code). The maps are not upsampled: between the centres of four map
pixels they are bilinear, so no value in such a tile exceeds the largest of its corners. Tiles are
searched only where that bound, first of blocks of 8 x 8 tiles, then of a tile, reaches the best
value so far.
"""

from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import Float, Int, compiled, run_parallel
from tagpose.codec.interpolation import Grid, lerp, sample_bilinear
from tagpose.codec.peaks import DecodingMaps, check_finite, refine_peak

_BLOCK: Final = 8  # tiles along a block
# Work for all people of an image and one keypoint: input pixels evaluated and tiles bounded.
# Outputs of trained networks take a few thousand; tags that are noise of a large amplitude would
# take hundreds of times as much, and a position found among them means nothing.
_MAX_WORK: Final = np.int64(200_000)


class SearchStats(NamedTuple):
    """Statistics of the search."""

    work: np.ndarray  # [B, K] int64: input pixels evaluated and tiles bounded
    unfinished: np.ndarray  # [B, K] int64: searches that ended early


class _TagMap(NamedTuple):
    """All tags of one keypoint in an image, and their ranges in each block of tiles."""

    values: np.ndarray  # [V, h, w] float32
    low: np.ndarray  # [V, rows, columns] float32
    high: np.ndarray  # [V, rows, columns] float32


class _Span(NamedTuple):
    """The map pixels of a heatmap between which the input pixels of a tile lie, along one axis."""

    first: int  # of tile 0; it may be outside, where the border is repeated
    length: int
    step: int  # from a tile to the next


@compiled
def _read_tag_map(maps: DecodingMaps, image: Int, tag_map: Int, tags: _TagMap) -> bool:
    """Copy a tag map of the flip test or of one output, and return whether it is finite."""
    views, (height, width) = maps.tags.shape[1], maps.tags.shape[3:]
    other = maps.tag_flip_indices[tag_map]
    zero, scratch = np.zeros(width, np.float32), np.empty((2, width), np.float32)
    for view in range(views):
        for y in range(height):
            for x in range(width):
                tag = maps.tags[image, view, tag_map, y, x]
                tags.values[view, y, x] = tag
                zero[x] += tag - tag
    for view in range(maps.flipped_tags.shape[1]):
        for y in range(height):
            for x in range(width):
                tag = maps.flipped_tags[image, view, other, y, width - 1 - x]
                tags.values[views + view, y, x] = tag
                zero[x] += tag - tag
    for view in range(len(tags.values)):
        for block in range(tags.low.shape[1]):
            low, high = tags.low[view, block], tags.high[view, block]
            _write_ranges(tags.values[view], block, scratch, low, high)
    return zero.sum() == 0


@compiled
def _write_ranges(
    values: np.ndarray, block: Int, scratch: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    """Write the ranges of a row of blocks.

    Args:
        values: tags [h, w].
        block: number of the row.
        scratch: [2, w] memory.
        low: [columns] result.
        high: [columns] result.
    """
    height, width = values.shape
    first = max(block * _BLOCK - 1, 0)
    for x in range(width):
        scratch[0, x], scratch[1, x] = values[first, x], values[first, x]
    for y in range(first + 1, min((block + 1) * _BLOCK, height)):
        for x in range(width):
            scratch[0, x] = min(scratch[0, x], values[y, x])
            scratch[1, x] = max(scratch[1, x], values[y, x])
    for column in range(len(low)):
        first = max(column * _BLOCK - 1, 0)
        least, most = scratch[0, first], scratch[1, first]
        for x in range(first + 1, min((column + 1) * _BLOCK, width)):
            least, most = min(least, scratch[0, x]), max(most, scratch[1, x])
        low[column], high[column] = least, most


def fill_missing(
    keypoints: np.ndarray,
    image: np.ndarray,
    person_tags: np.ndarray,
    maps: DecodingMaps,
    *,
    subpixel: bool,
) -> SearchStats:
    """Fill in missing keypoints in place.

    The search of a keypoint in an image ends early after a fixed amount of work, best people first,
    so that no input takes long; see `SearchStats`.

    Args:
        keypoints: [T, K, 3] x, y (input pixels), score of all people of a batch, image by image; a
            score of 0 marks a missing keypoint, which stays missing where the heatmap is not
            positive at the position found.
        image: [T] int64, the image of each person, in rising order.
        person_tags: [T, V] float32 mean tags.
        maps: network outputs of the batch.
        subpixel: see `refine_peak`.

    Returns:
        The work and the number of unfinished searches of each keypoint.

    Raises:
        ValueError: if the tags of a missing keypoint contain NaN or infinity.
    """
    shape = maps.heatmaps.shape[:2]
    effort = SearchStats(np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    finite = np.ones(shape, np.bool_)
    people = np.searchsorted(image, np.arange(len(finite) + 1))
    ratio, fine_ratio = (
        len(grid.rows.near) // maps_of.shape[-2]
        for grid, maps_of in ((maps.tag_grid, maps.tags), (maps.heatmap_grid, maps.heatmaps))
    )
    span = _heatmap_span(ratio, fine_ratio)
    run_parallel(
        lambda start, stop: _fill_missing(
            keypoints, people, person_tags, maps, span, subpixel, start, stop, effort, finite
        ),
        finite.size,
    )
    check_finite(finite)
    return effort


def _heatmap_span(ratio: int, fine_ratio: int) -> _Span:
    """Return the span of tiles between tag centres, in heatmap pixels.

    Args:
        ratio: input pixels per tag pixel.
        fine_ratio: input pixels per heatmap pixel.
    """
    pixels = np.arange(-ratio + ratio // 2, ratio // 2)  # of tile 0
    near = pixels // fine_ratio
    far = near + np.sign(2 * (pixels % fine_ratio) + 1 - fine_ratio)
    first, last = min(near.min(), far.min()), max(near.max(), far.max())
    return _Span(int(first), int(last - first + 1), ratio // fine_ratio)


@compiled
def _fill_missing(
    keypoints: np.ndarray,
    people: np.ndarray,
    person_tags: np.ndarray,
    maps: DecodingMaps,
    span: _Span,
    subpixel: bool,
    start: Int,
    stop: Int,
    effort: SearchStats,
    finite: np.ndarray,
) -> None:
    """Fill in the keypoints of heatmaps number `start` to `stop` of the batch.

    Args:
        keypoints: see `fill_missing`.
        people: [B + 1] the first person of each image.
        person_tags: see `fill_missing`.
        maps: see `fill_missing`.
        span: span of a tile.
        subpixel: see `refine_peak`.
        start: image * K + keypoint.
        stop: likewise.
        effort: result.
        finite: [B, K] result.
    """
    views, (height, width) = person_tags.shape[1], maps.tags.shape[3:]
    tiles = np.empty((height + 1, width + 1), np.float32)
    blocks = np.empty((height // _BLOCK + 1, width // _BLOCK + 1), np.float32)
    ranges = views, *blocks.shape
    tags = _TagMap(
        np.empty((views, height, width), np.float32),
        np.empty(ranges, np.float32),
        np.empty(ranges, np.float32),
    )
    prepared = -1, -1
    for number in range(start, stop):
        image, keypoint = number // keypoints.shape[1], number % keypoints.shape[1]
        first, last = people[image], people[image + 1]
        if not (keypoints[first:last, keypoint, 2] == 0).any():
            continue
        if not _bound_heatmap(maps.heatmaps[image, keypoint], span, tiles, blocks) > 0:
            continue
        tag_map = maps.tag_index[keypoint]
        if prepared != (image, tag_map):
            finite[image, keypoint] = _read_tag_map(maps, image, tag_map, tags)
            prepared = image, tag_map
        if finite[image, keypoint]:
            work, unfinished = _fill_keypoint(
                keypoints[first:last, keypoint], person_tags[first:last],
                maps.heatmaps[image, keypoint], tags, maps.heatmap_grid, maps.tag_grid, tiles,
                blocks, subpixel,
            )  # fmt: skip
            effort.work[image, keypoint], effort.unfinished[image, keypoint] = work, unfinished


@compiled
def _fill_keypoint(
    points: np.ndarray,
    person_tags: np.ndarray,
    heatmap: np.ndarray,
    tags: _TagMap,
    heatmap_grid: Grid,
    tag_grid: Grid,
    tiles: np.ndarray,
    blocks: np.ndarray,
    subpixel: bool,
) -> tuple[Int, Int]:
    """Fill in one keypoint of the people of an image.

    Args:
        points: [people, 3] x, y, score.
        person_tags: [people, V] mean tags.
        heatmap: [h, w].
        tags: of the keypoint.
        heatmap_grid: of the heatmap.
        tag_grid: of the tags.
        tiles: [rows, columns] largest heatmap values.
        blocks: [block rows, block columns] likewise.
        subpixel: see `refine_peak`.

    Returns:
        The work and the number of unfinished searches.
    """
    bounds, tile_bounds = np.empty(blocks.size, np.float32), np.empty(_BLOCK**2, np.float32)
    ends = np.empty((len(tags.values), 2), np.float32)
    input_width, total, unfinished = len(heatmap_grid.columns.near), 0, 0
    for person in range(len(points)):
        if points[person, 2] != 0:
            continue
        _bound_blocks(blocks, tags.low, tags.high, person_tags[person], bounds)
        position, work, finished = _search_argmax(
            heatmap, tags.values, person_tags[person], heatmap_grid, tag_grid, tiles,
            blocks.shape[1], bounds, tile_bounds, ends, _MAX_WORK - total,
        )  # fmt: skip
        total += work
        unfinished += not finished
        y, x = position // input_width, position % input_width
        score = sample_bilinear(heatmap, heatmap_grid, y, x)
        if score > 0:
            points[person, 0], points[person, 1] = refine_peak(
                heatmap, heatmap_grid, y, x, subpixel
            )
            points[person, 2] = score
    return total, unfinished


@compiled
def _bound_heatmap(
    heatmap: np.ndarray, span: _Span, tiles: np.ndarray, blocks: np.ndarray
) -> Float:
    """Write the largest heatmap value of each tile and block, and return that of the map.

    Args:
        heatmap: [h, w].
        span: span of a tile.
        tiles: [rows, columns] result.
        blocks: [block rows, block columns] result.
    """
    rows, columns = tiles.shape
    line = np.empty(span.step * (columns - 1) + span.length, np.float32)
    column_highest = np.empty(columns, np.float32)
    highest = np.float32(-np.inf)
    for block in range(blocks.shape[0]):
        column_highest[:] = -np.inf
        for row in range(block * _BLOCK, min((block + 1) * _BLOCK, rows)):
            _bound_tile_row(heatmap, span, row, line, tiles[row])
            for column in range(columns):
                column_highest[column] = max(column_highest[column], tiles[row, column])
        for column in range(blocks.shape[1]):
            most = np.float32(-np.inf)
            for at in range(column * _BLOCK, min((column + 1) * _BLOCK, columns)):
                most = max(most, column_highest[at])
            blocks[block, column] = most
            highest = max(highest, most)
    return highest


@compiled
def _bound_tile_row(
    heatmap: np.ndarray, span: _Span, row: Int, line: np.ndarray, highest: np.ndarray
) -> None:
    """Write the largest heatmap value of each tile of a row.

    Args:
        heatmap: [h, w].
        span: span of a tile.
        row: of the tiles.
        line: scratch memory for a row of the heatmap whose border is repeated.
        highest: [columns] result.
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
        if span.step == 1:  # the compiler vectorises neighbouring values only
            for column in range(len(highest)):
                highest[column] = max(highest[column], line[offset + column])
        else:
            for column in range(len(highest)):
                highest[column] = max(highest[column], line[offset + span.step * column])


@compiled
def _bound_blocks(
    blocks: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    person_tag: np.ndarray,
    bounds: np.ndarray,
) -> None:
    """Write an upper bound of heatmap - round(|tag - person_tag|) for each block."""
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
def _search_argmax(
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
    """Return the first input pixel y * W + x of the largest value.

    Args:
        heatmap: [h, w].
        tags: [L, h, w].
        person_tag: [L] mean tag of a person.
        heatmap_grid: of the heatmap.
        tag_grid: of the tags.
        tiles: [rows, columns] largest heatmap values.
        block_columns: blocks along a row.
        bounds: [blocks].
        tile_bounds: [_BLOCK ** 2] scratch memory.
        ends: [L, 2] scratch memory.
        max_work: work budget; the most promising block is always searched.

    Returns:
        The position, the work spent, and whether the search was completed.
    """
    best, position, work = np.float32(-np.inf), np.int64(0), 0
    input_width = len(tag_grid.columns.near)
    ratio = input_width // tags.shape[2]
    first = np.argmax(bounds)
    for number in range(-1, len(bounds)):  # the most promising block, then all that may be better
        block = first if number < 0 else number
        ceiling = bounds[block]
        if ceiling < best or number == first:
            continue
        row, column = block // block_columns * _BLOCK, block % block_columns * _BLOCK
        if ceiling == best and _first_pixel_of_tile(row, column, ratio, input_width) > position:
            continue
        if number >= 0 and work > max_work:
            return position, work, False
        top = _bound_tiles(tiles, tags, person_tag, row, column, best, tile_bounds)
        work += len(tile_bounds)
        for at in range(-1, len(tile_bounds)):  # likewise
            tile = top if at < 0 else at
            bound = tile_bounds[tile]
            if bound < best or bound == -np.inf or at == top:
                continue
            y, x = row + tile // _BLOCK, column + tile % _BLOCK
            if bound == best and _first_pixel_of_tile(y, x, ratio, input_width) > position:
                continue
            work += ratio * ratio
            best, position = _search_tile(
                heatmap, tags, person_tag, heatmap_grid, tag_grid, ratio, y, x, tiles[y, x], bound,
                ends, best, position,
            )  # fmt: skip
    return position, work, True


@compiled
def _bound_tiles(
    tiles: np.ndarray,
    tags: np.ndarray,
    person_tag: np.ndarray,
    row: Int,
    column: Int,
    best: Float,
    bounds: np.ndarray,
) -> Int:
    """Write the bounds of a block's tiles and return the first one with the highest.

    Args:
        tiles: [rows, columns] largest heatmap values.
        tags: [L, h, w].
        person_tag: [L] mean tag of a person.
        row: of the block's first tile.
        column: likewise.
        best: tiles that cannot reach it get the bound -inf.
        bounds: [_BLOCK ** 2] result, row by row.
    """
    top, highest = 0, np.float32(-np.inf)
    bounds[:] = -np.inf
    for y in range(row, min(row + _BLOCK, tiles.shape[0])):
        for x in range(column, min(column + _BLOCK, tiles.shape[1])):
            if tiles[y, x] < best:
                continue
            at = (y - row) * _BLOCK + x - column
            bounds[at] = tiles[y, x] - np.rint(_tile_distance(tags, person_tag, y, x))
            if bounds[at] > highest:
                top, highest = at, bounds[at]
    return top


@compiled
def _first_pixel_of_tile(row: Int, column: Int, ratio: Int, input_width: Int) -> Int:
    """Return the first input pixel y * W + x of a tile."""
    y, x = (row - 1) * ratio + ratio // 2, (column - 1) * ratio + ratio // 2
    return max(y, 0) * input_width + max(x, 0)


@compiled
def _tile_distance(tags: np.ndarray, person_tag: np.ndarray, row: Int, column: Int) -> Float:
    """Return a lower bound of |tag - person_tag| in a tile: the distance to the box of its corners."""
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


@compiled
def _search_tile(  # noqa: C901 # inlined, because calls would dominate the run time
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
    """Return the best value and its first position so far, with those of the pixels of a tile.

    All pixels of a tile lie between the same four tags, which are interpolated row by row, in the
    same way as by `sample_bilinear`. Values are clipped to the tile's `ceiling` and `bound`, which
    rounding could exceed.
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
            here = y * width + x
            if value > best or (value == best and here < position):
                best, position = value, here
    return best, position
