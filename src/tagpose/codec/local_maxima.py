"""Local maxima among the input pixels of a row of a heatmap, without upsampling the heatmap."""

from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import CHUNK, ZERO, Float, Int, compilable
from tagpose.codec.interpolation import Grid, lerp, sample_bilinear

_REACH: Final = 2  # input pixels; a peak is the maximum of 5 x 5 (Newell 2017's code)
_TINY: Final = np.float32(1e-30)  # makes a rise of 0 positive
_SUMMIT_RATIO: Final = 4  # input pixels per map pixel for which summits are recognized
_SUMMIT_MARGIN: Final = 1e-5  # relative, above the rounding of float32
ROUNDING: Final = 1e-6  # relative, of float32: no map pixel is excluded by rounding


class RowScratch(NamedTuple):
    """Buffers for one row of a heatmap."""

    chunks: np.ndarray  # [chunks] float32: upper bounds of the values in chunks of the row
    around: np.ndarray  # [3, CHUNK + 2] float32: map pixels around a chunk, replicating borders
    ratings: np.ndarray  # [CHUNK] float32: positive if a map pixel may contain a maximum
    summits: np.ndarray  # [CHUNK] float32: positive if it is a summit; see `_rate_chunk`
    columns: np.ndarray  # [w] int64: columns of map pixels that contain maxima
    inside: np.ndarray  # [w, ratio, ratio] float32: scores of maxima; else -inf


@compilable
def find_row_maxima(
    heatmap: np.ndarray,
    grid: Grid,
    row: Int,
    floor: Float,
    pixel_floor: Float,
    center_weight: Float,
    scratch: RowScratch,
) -> Int:
    """Find the local maxima among the input pixels of one row of a heatmap.

    Args:
        heatmap: heatmap [h, w].
        grid: grid of the heatmap.
        row: row of map pixels.
        floor: value that maxima must exceed.
        pixel_floor: value that map pixels containing such maxima exceed.
        center_weight: weight of the farther map pixel at the input pixel nearest to the center.
        scratch: buffers; `columns` and `inside` are outputs.

    Returns:
        The number of map pixels that contain maxima.
    """
    chunks, (height, width), count = scratch.chunks, heatmap.shape, ZERO
    for chunk in range(len(chunks)):
        if not chunks[chunk] > pixel_floor:
            continue
        first = chunk * CHUNK
        # the chunk's rows and the column before it, in the heatmap or in a copy with borders
        if first == 0 or first + CHUNK >= width:
            _copy_around(heatmap, row, first, scratch.around)
            source, above, at, below, before = scratch.around, 0, 1, 2, np.uint64(0)
        else:
            source, above, at, below = heatmap, max(row - 1, 0), row, min(row + 1, height - 1)
            before = np.uint64(first - 1)
        any_above = any_positive = False
        for offset in range(CHUNK):
            any_above |= source[at, before + np.uint64(offset + 1)] > pixel_floor
        if not any_above:
            continue
        _rate_chunk(source, above, at, below, before, floor, pixel_floor, center_weight, scratch)
        for offset in range(CHUNK):
            any_positive |= scratch.ratings[offset] > 0
        if any_positive:
            count = _find_chunk_maxima(heatmap, grid, row, first, count, scratch)
    return count


@compilable
def _find_chunk_maxima(
    heatmap: np.ndarray, grid: Grid, row: Int, first: Int, count: Int, scratch: RowScratch
) -> Int:
    """Find the local maxima in the map pixels of a chunk that are rated positive.

    Args:
        heatmap: heatmap [h, w].
        grid: grid of the heatmap.
        row: row of map pixels.
        first: first column of the chunk.
        count: number of map pixels with maxima in the preceding chunks of the row.
        scratch: buffers; `columns` and `inside` are outputs.

    Returns:
        The number of map pixels with maxima including this chunk.
    """
    for column in range(first, min(first + CHUNK, heatmap.shape[1])):
        if not scratch.ratings[column - first] > 0:
            continue
        scratch.columns[count] = column
        if _is_flat(heatmap, row, column):
            scratch.inside[count] = heatmap[row, column]
            count += 1
        elif scratch.inside.shape[1] == _SUMMIT_RATIO and scratch.summits[column - first] > 0:
            _write_summit(heatmap, grid, row, column, scratch.inside, count)
            count += 1
        elif _write_local_maxima(heatmap, grid, row, column, scratch.inside, count):
            count += 1
    return count


@compilable
def _copy_around(heatmap: np.ndarray, row: Int, first: Int, around: np.ndarray) -> None:
    """Copy the map pixels of a chunk, and those around it, replicating borders."""
    height, width = heatmap.shape
    for line in range(3):
        y = min(max(row + line - 1, 0), height - 1)
        for offset in range(CHUNK + 2):
            around[line, offset] = heatmap[y, min(max(first + offset - 1, 0), width - 1)]


@compilable
def _rate_chunk(
    source: np.ndarray, above: Int, at: Int, below: Int, before: Int, floor: Float,
    pixel_floor: Float, weight: Float, scratch: RowScratch,
) -> None:  # fmt: skip
    """Rate each map pixel of a chunk; the rating is positive if it may contain a maximum.

    Values are linear along each axis between the centers of map pixels. So if an input pixel is a
    local maximum, then along either axis so is the input pixel of its quadrant that is nearest to
    the center of the map pixel, and the neighboring map pixels, interpolated in the same way, do
    not exceed it.

    A summit exceeds all map pixels around it, and falls towards them along all four lines through
    the input pixels nearest to its center. In each quadrant, values are bilinear between the
    centers of four map pixels, so the input pixel nearest to the center is the highest within its
    5 x 5 window. With 4 x 4 input pixels this window does not reach beyond these centers, so the
    highest of the middle four is a local maximum, and no lower input pixel is one.

    Args:
        source: map pixels, with a column on either side of the chunk.
        above: row above the chunk.
        at: row of the chunk.
        below: row below the chunk.
        before: column before the chunk; unsigned, because a negative index would be checked for.
        floor: value that maxima must exceed.
        pixel_floor: value that map pixels containing such maxima exceed.
        weight: weight of the farther map pixel at the input pixel nearest to the center.
        scratch: buffers; `ratings` and `summits` are outputs.
    """
    for offset in range(CHUNK):
        x = before + np.uint64(offset)
        y, z = x + np.uint64(1), x + np.uint64(2)
        a, b, c = source[above, x], source[above, y], source[above, z]
        d, e, f = source[at, x], source[at, y], source[at, z]
        g, h, i = source[below, x], source[below, y], source[below, z]
        upper = lerp(e, b, weight) - max(lerp(d, a, weight), lerp(f, c, weight))
        lower = lerp(e, h, weight) - max(lerp(d, g, weight), lerp(f, i, weight))
        left = lerp(e, d, weight) - max(lerp(b, a, weight), lerp(h, g, weight))
        right = lerp(e, f, weight) - max(lerp(b, c, weight), lerp(h, i, weight))
        rise = min(max(upper, lower), max(left, right))
        lowest_rise = min(min(upper, lower), min(left, right))
        rise += np.float32(ROUNDING) * abs(e) + _TINY
        # no input pixel exceeds the highest map pixel around it
        neighbor = max(max(max(max(a, b), c), max(d, f)), max(max(g, h), i))
        scratch.ratings[offset] = min(min(rise, e - pixel_floor), max(neighbor, e) - floor)
        margin = np.float32(_SUMMIT_MARGIN) * abs(e)
        scratch.summits[offset] = min(lowest_rise, e - neighbor) - margin


@compilable
def _is_flat(heatmap: np.ndarray, row: Int, column: Int) -> bool:
    """Return whether a map pixel equals all around it, so that its input pixels are maxima."""
    height, width = heatmap.shape
    value = heatmap[row, column]
    for y in range(max(row - _REACH, 0), min(row + _REACH + 1, height)):
        for x in range(max(column - _REACH, 0), min(column + _REACH + 1, width)):
            if heatmap[y, x] != value:
                return False
    return True


@compilable
def _write_summit(
    heatmap: np.ndarray, grid: Grid, row: Int, column: Int, inside: np.ndarray, index: Int
) -> None:
    """Write the scores of the local maxima of a summit; see `_write_local_maxima`."""
    highest = np.float32(-np.inf)
    for down in range(1, 3):
        for across in range(1, 3):
            score = sample_bilinear(
                heatmap, grid, row * _SUMMIT_RATIO + down, column * _SUMMIT_RATIO + across
            )
            inside[index, down, across], highest = score, max(highest, score)
    for down in range(_SUMMIT_RATIO):
        for across in range(_SUMMIT_RATIO):
            is_middle = min(down, across) > 0 and max(down, across) < _SUMMIT_RATIO - 1
            if not is_middle or inside[index, down, across] < highest:
                inside[index, down, across] = np.float32(-np.inf)


@compilable
def _write_local_maxima(
    heatmap: np.ndarray, grid: Grid, row: Int, column: Int, inside: np.ndarray, index: Int
) -> bool:
    """Write the scores of the local maxima among the input pixels of a map pixel.

    Args:
        heatmap: heatmap [h, w].
        grid: grid of the heatmap.
        row: row of the map pixel.
        column: column of the map pixel.
        inside: output [w, ratio, ratio]; entry `index` is written, with -inf for other pixels.
        index: index into `inside`.

    Returns:
        Whether there is a local maximum.
    """
    ratio = inside.shape[1]
    middle, lowest = ratio // 2, np.float32(-np.inf)
    # The 5 x 5 window of each of the middle input pixels contains the whole map pixel, if it is
    # small enough, so no score below theirs is a maximum.
    floor, highest = lowest, lowest
    for down in range(ratio):
        for across in range(ratio):
            y, x = row * ratio + down, column * ratio + across
            score = sample_bilinear(heatmap, grid, y, x)
            inside[index, down, across], highest = score, max(highest, score)
            if middle - 1 <= min(down, across) and max(down, across) <= middle <= _REACH:
                floor = max(floor, score)
    any_maximum = False
    for down in range(ratio):
        for across in range(ratio):
            y, x, score = row * ratio + down, column * ratio + across, inside[index, down, across]
            skip = ratio if score == highest else ZERO
            if score >= floor and _is_local_maximum(heatmap, grid, y, x, score, skip):
                any_maximum = True
            else:
                inside[index, down, across] = lowest
    return any_maximum


@compilable
def _is_local_maximum(
    heatmap: np.ndarray, grid: Grid, y: Int, x: Int, score: Float, skip: Int
) -> bool:
    """Return whether no input pixel in the 5 x 5 window around an input pixel exceeds its score.

    Args:
        heatmap: heatmap [h, w].
        grid: grid of the heatmap.
        y: row of the input pixel.
        x: column of the input pixel.
        score: score of the input pixel.
        skip: input pixels per map pixel along an axis if those of the same map pixel are known not
            to exceed the score; else 0.
    """
    height, width = len(grid.rows.near), len(grid.columns.near)
    top, left = (y // skip * skip, x // skip * skip) if skip else (y, x)
    for other_y in range(max(y - _REACH, 0), min(y + _REACH + 1, height)):
        within = top <= other_y < top + skip
        for other_x in range(max(x - _REACH, 0), min(x + _REACH + 1, width)):
            if within and left <= other_x < left + skip:
                continue
            if sample_bilinear(heatmap, grid, other_y, other_x) > score:
                return False
    return True
