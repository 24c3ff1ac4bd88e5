"""Peaks of heatmaps at the resolution of the network's input, and their sub-pixel positions."""

from typing import Any, Final, NamedTuple

import numpy as np

from tagpose.codec.compilation import Float, Int, compiled, inlined, run_parallel
from tagpose.codec.interpolation import Grid, lerp, sample_bilinear
from tagpose.structures import STRIDE

_REACH: Final = 2  # input pixels; a peak is the maximum of 5 x 5 (Newell 2017's code)
_CHUNK: Final = 16  # map pixels whose values are compared at a time
# typed constants: a literal would make numba compile another signature
_ZERO: Final = np.int64(0)
_FALSE: Final[Any] = np.bool_(False)
_TRUE: Final[Any] = np.bool_(True)
_TINY: Final = np.float32(1e-30)  # makes a rise of 0 positive
_ROUNDING: Final = 1e-6  # relative, of float32: no map pixel is excluded by rounding
_MIN_LOG: Final = np.float32(1e-3)  # smallest heatmap value whose logarithm is taken


class Peaks(NamedTuple):
    """The highest local maxima of every heatmap of a batch, by falling score."""

    xy: np.ndarray  # [B, K, N, 2] int32 x, y in whole input pixels
    scores: np.ndarray  # [B, K, N] float32 heatmap values, 0 where there are fewer than N
    tags: np.ndarray  # [B, K, N, V] float32, V of DecodingMaps


class _RowScratch(NamedTuple):
    """Memory for one row of a heatmap."""

    around: np.ndarray  # [3, chunks * _CHUNK + 2] float32: three rows, with the border repeated
    ratings: np.ndarray  # [_CHUNK] float32: positive where a map pixel may contain a local maximum
    columns: np.ndarray  # [w] int64: columns of map pixels that contain local maxima
    inside: np.ndarray  # [w, ratio, ratio] float32: scores of their input pixels, -inf for others


class DecodingMaps(NamedTuple):
    """Heatmaps and tags of a batch and the grids on which they are interpolated.

    The flip test is decoded with V = 2 L tags at every place, otherwise V = L.
    """

    heatmaps: np.ndarray  # [B, K, h, w] float32
    tags: np.ndarray  # [B, L, G, h, w] float32
    flipped_tags: np.ndarray  # [B, V - L, G, h, w] float32, output for the flipped images
    tag_flip_indices: np.ndarray  # [G] int64; see `ChannelFlipIndices`
    tag_index: np.ndarray  # [K] int32: which of the G tag maps each keypoint uses
    heatmap_grid: Grid
    tag_grid: Grid

    @property
    def tag_count(self) -> int:
        """V, the number of tags at every place."""
        return int(self.tags.shape[1] + self.flipped_tags.shape[1])


def find_peaks(maps: DecodingMaps, count: int, min_score: float, *, as_topk: bool = True) -> Peaks:
    """Return the highest local maxima (5 x 5 input pixels) of the upsampled heatmaps.

    No map is upsampled: an input pixel is interpolated between four map pixels, so only map pixels
    that are not lower than their neighbours can contain a maximum.

    Args:
        maps: network outputs of a batch.
        count: N, the largest number of peaks of a heatmap.
        min_score: heatmap value that a peak must exceed.
        as_topk: whether peaks with equal scores come in MMPose's order, that of torch.topk over
            the upsampled map on a CPU, which takes a second pass; otherwise the first one in the
            image comes first. Nearly all of them are neighbours in one map pixel, which
            `refine_peak` moves to the same sub-pixel position.

    Raises:
        ValueError: if a heatmap, or a tag at a peak, is NaN or infinity.
    """
    peaks, least = empty_peaks(maps, count), np.float32(min_score)
    finite = np.zeros(maps.heatmaps.shape[0] * maps.heatmaps.shape[1], np.bool_)
    run_parallel(
        lambda start, stop: write_peaks(maps, least, start, stop, as_topk, peaks, finite),
        len(finite),
    )
    check_finite(finite)
    return peaks


def empty_peaks(maps: DecodingMaps, count: int) -> Peaks:
    """Return memory for `count` peaks of each heatmap, with scores of 0."""
    shape = (*maps.heatmaps.shape[:2], count)
    return Peaks(
        xy=np.zeros((*shape, 2), np.int32),
        scores=np.zeros(shape, np.float32),
        tags=np.zeros((*shape, maps.tag_count), np.float32),
    )


def check_finite(finite: np.ndarray) -> None:
    """Raise a ValueError unless all flags of maps are set."""
    if not finite.all():
        raise ValueError(
            "the network's output contains NaN or infinity; training diverged, or half precision "
            "overflowed"
        )


@compiled
def write_peaks(
    maps: DecodingMaps,
    min_score: Float,
    start: Int,
    stop: Int,
    as_topk: bool,
    peaks: Peaks,
    finite: np.ndarray,
) -> None:
    """Write the peaks of heatmaps number `start` to `stop` of a batch, and which are finite."""
    keypoints, width = maps.heatmaps.shape[1], len(maps.heatmap_grid.columns.near)
    count = peaks.scores.shape[2]
    scores, places = np.empty(count + 1, np.float32), np.empty(count + 1, np.int64)
    for number in range(start, stop):
        image, keypoint = number // keypoints, number % keypoints
        heatmap = maps.heatmaps[image, keypoint]
        lowest = _lowest(heatmap)
        finite[number] = lowest > -np.inf
        if not finite[number]:
            continue
        # one more than asked for, because it may equal the last one
        grid = maps.heatmap_grid
        _select_peaks(heatmap, grid, min_score, lowest, scores, places, _FALSE)
        if as_topk and _has_ties(scores):
            heap = scores[:count], places[:count]
            _select_peaks(heatmap, grid, np.float32(0), lowest, heap[0], heap[1], _TRUE)
        for n in range(count):
            if scores[n] <= min_score:
                break
            y, x = places[n] // width, places[n] % width
            peaks.scores[image, keypoint, n] = scores[n]
            peaks.xy[image, keypoint, n, 0], peaks.xy[image, keypoint, n, 1] = x, y
            finite[number] &= _read_tags(maps, image, keypoint, y, x, peaks.tags, n)


@inlined
def _read_tags(
    maps: DecodingMaps, image: Int, keypoint: Int, y: Int, x: Int, tags: np.ndarray, n: Int
) -> bool:
    """Write the tags [V] of peak number `n` into `tags` [B, K, N, V]; whether they are finite."""
    tag_map, views, total = maps.tag_index[keypoint], maps.tags.shape[1], np.float32(0)
    for view in range(views):
        tag = sample_bilinear(maps.tags[image, view, tag_map], maps.tag_grid, y, x)
        tags[image, keypoint, n, view] = tag
        total += tag - tag
    other, across = maps.tag_flip_indices[tag_map], len(maps.tag_grid.columns.near) - 1 - x
    for view in range(maps.flipped_tags.shape[1]):
        tag = sample_bilinear(maps.flipped_tags[image, view, other], maps.tag_grid, y, across)
        tags[image, keypoint, n, views + view] = tag
        total += tag - tag
    return total == 0


@inlined
def _lowest(values: np.ndarray) -> Float:
    """Return the minimum of a map [h, w], or 0 if that is lower; -inf if it is not finite."""
    low, zero = np.zeros(values.shape[1], np.float32), np.zeros(values.shape[1], np.float32)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):  # column by column, which the compiler vectorises
            low[x] = min(low[x], values[y, x])
            zero[x] += values[y, x] - values[y, x]
    lowest, total = np.float32(0), np.float32(0)
    for x in range(len(low)):
        lowest = min(lowest, low[x])
        total += zero[x]
    return lowest if total == 0 else np.float32(-np.inf)


@inlined
def _has_ties(scores: np.ndarray) -> bool:
    """Whether two neighbours of falling scores are equal and above 0."""
    ties = 0
    for n in range(1, len(scores)):
        ties += scores[n] > 0 and scores[n] == scores[n - 1]
    return ties > 0


@compiled
def _select_peaks(
    heatmap: np.ndarray,
    grid: Grid,
    min_score: Float,
    lowest: Float,
    scores: np.ndarray,
    places: np.ndarray,
    as_topk: bool,
) -> None:
    """Write the highest local maxima of a heatmap above a score, by falling score.

    Args:
        heatmap: [h, w].
        grid: of the heatmap.
        min_score: value that peaks must exceed.
        lowest: a lower bound of the heatmap, 0 or less.
        scores: [N] result, 0 where there are fewer.
        places: [N] result, y * W + x in input pixels.
        as_topk: see `find_peaks`.
    """
    height, width = heatmap.shape
    ratio = len(grid.columns.near) // width
    scratch = _RowScratch(
        np.empty((3, -(-width // _CHUNK) * _CHUNK + 2), np.float32),
        np.empty(_CHUNK, np.float32),
        np.empty(width, np.int64),
        np.empty((width, ratio, ratio), np.float32),
    )
    scores[:], places[:] = 0, -1
    # weight of the far map pixel at the input pixel nearest to the middle of a map pixel
    nearest = grid.columns.weight[ratio // 2]
    # A maximum with score s lies in a map pixel of at least (1 - share) s + share * lowest, which
    # follows from the comparisons of `_rate_chunk` and the definition of s.
    share = np.float32((nearest / (1 - nearest)) ** 2 + _ROUNDING)
    heap_ready = _FALSE
    for row in range(height):
        floor = min_score
        if heap_ready or not as_topk:  # the first of a heap, or the last of a list, is the lowest
            floor = max(min_score, min(scores[0], scores[-1]))
        least = np.float32(floor - share * (floor - lowest))
        if not _exceeds(heatmap, row, least):
            continue
        found_count = _maxima_of_row(heatmap, grid, row, floor, least, nearest, scratch)
        heap_ready = _add_row(
            scores, places, scratch, found_count, row, min_score, as_topk, heap_ready
        )
    if as_topk:
        _sort_heap(scores, places, heap_ready)


@inlined
def _add_row(
    scores: np.ndarray,
    places: np.ndarray,
    scratch: _RowScratch,
    found_count: Int,
    row: Int,
    min_score: Float,
    as_topk: bool,
    heap_ready: bool,
) -> bool:
    """Add the peaks of one row of a heatmap, input pixel by input pixel, to a list or heap.

    Returns:
        Whether the heap is in order.
    """
    ratio, width = scratch.inside.shape[1], scratch.inside.shape[0]
    for down in range(ratio):
        line = (row * ratio + down) * width * ratio
        for number in range(found_count):
            for across in range(ratio):
                score = scratch.inside[number, down, across]
                if score > min_score:
                    place = line + scratch.columns[number] * ratio + across
                    heap_ready = _add(scores, places, score, place, as_topk, heap_ready)
    return heap_ready


@inlined
def _add(
    scores: np.ndarray,
    places: np.ndarray,
    score: Float,
    place: Int,
    as_topk: bool,
    heap_ready: bool,
) -> bool:
    """Add a peak to a list or heap, and return whether the heap is in order.

    torch.topk makes a heap of the first N values of a map, and then replaces the lowest one.
    """
    if not as_topk:
        _insert(scores, places, score, place)
        return heap_ready
    if place < len(scores):
        scores[place], places[place] = score, place
        return heap_ready
    if not heap_ready:
        _heapify(scores, places)
    if score > scores[0]:
        scores[0], places[0] = score, place
        _sift(scores, places, _ZERO, len(scores))
    return True


@compiled
def _insert(scores: np.ndarray, places: np.ndarray, score: Float, place: Int) -> None:
    """Insert into a list by falling score, behind equal ones; the last one drops out."""
    at = len(scores) - 1
    if not score > scores[at]:
        return
    while at > 0 and score > scores[at - 1]:
        scores[at], places[at] = scores[at - 1], places[at - 1]
        at -= 1
    scores[at], places[at] = score, place


@compiled
def _heapify(scores: np.ndarray, places: np.ndarray) -> None:
    """Make a heap with the lowest score first, as std::make_heap does."""
    for at in range(len(scores) // 2 - 1, -1, -1):
        _sift(scores, places, at, len(scores))


@compiled
def _sort_heap(scores: np.ndarray, places: np.ndarray, heap_ready: bool) -> None:
    """Sort a heap by falling score, as std::sort_heap does."""
    if not heap_ready:
        _heapify(scores, places)
    for size in range(len(scores) - 1, 0, -1):
        score, place = scores[0], places[0]
        scores[0], places[0] = scores[size], places[size]
        _sift(scores, places, _ZERO, size)
        scores[size], places[size] = score, place


@compiled
def _sift(scores: np.ndarray, places: np.ndarray, at: Int, size: Int) -> None:
    """Move an entry of a heap down to a leaf, then up to its place, as std::__adjust_heap does."""
    top, score, place = at, scores[at], places[at]
    child = 2 * at + 1
    while child < size:
        if child + 1 < size and not scores[child] < scores[child + 1]:
            child += 1
        scores[at], places[at] = scores[child], places[child]
        at, child = child, 2 * child + 1
    while at > top and score < scores[(at - 1) // 2]:
        scores[at], places[at] = scores[(at - 1) // 2], places[(at - 1) // 2]
        at = (at - 1) // 2
    scores[at], places[at] = score, place


@inlined
def _maxima_of_row(
    heatmap: np.ndarray,
    grid: Grid,
    row: Int,
    floor: Float,
    least: Float,
    nearest: Float,
    scratch: _RowScratch,
) -> Int:
    """Find the local maxima among the input pixels of one row of a heatmap.

    Args:
        heatmap: [h, w].
        grid: of the heatmap.
        row: of the heatmap.
        floor: value that maxima must exceed.
        least: what map pixels that contain such maxima exceed.
        nearest: weight of the far map pixel at the input pixel nearest to the middle.
        scratch: `columns` and `inside` are results.

    Returns:
        The number of map pixels that contain maxima.
    """
    _copy_rows(heatmap, row, scratch.around)
    found_count, width = _ZERO, heatmap.shape[1]
    for first in range(0, width, _CHUNK):
        # loops over a constant number of map pixels, which the compiler vectorises
        some = False
        for offset in range(_CHUNK):
            some |= scratch.around[1, first + offset + 1] > least
        if not some:
            continue
        _rate_chunk(scratch.around, first, floor, least, nearest, scratch.ratings)
        some = False
        for offset in range(_CHUNK):
            some |= scratch.ratings[offset] > 0
        if not some:
            continue
        for column in range(first, min(first + _CHUNK, width)):
            if not scratch.ratings[column - first] > 0:
                continue
            scratch.columns[found_count] = column
            if _is_flat(heatmap, row, column):
                scratch.inside[found_count] = heatmap[row, column]
                found_count += 1
            elif _local_maxima(heatmap, grid, row, column, scratch.inside, found_count):
                found_count += 1
    return found_count


@inlined
def _copy_rows(heatmap: np.ndarray, row: Int, around: np.ndarray) -> None:
    """Copy a row of a heatmap [h, w] and its neighbours into `around`; the border is repeated."""
    height, width = heatmap.shape
    for line in range(3):
        near = min(max(row + line - 1, 0), height - 1)
        around[line, 0] = heatmap[near, 0]
        for x in range(width):
            around[line, x + 1] = heatmap[near, x]
        for x in range(width + 1, around.shape[1]):
            around[line, x] = heatmap[near, width - 1]


@inlined
def _rate_chunk(
    around: np.ndarray,
    first: Int,
    floor: Float,
    least: Float,
    nearest: Float,
    ratings: np.ndarray,
) -> None:
    """Write for each map pixel of a chunk a number that is positive if it may contain a maximum.

    Between the centres of map pixels values rise or fall evenly. So if an input pixel is a local
    maximum, then so is the one nearest to the centre in its quadrant along either axis, which the
    neighbouring map pixels, mixed in the same way, do not exceed.

    Args:
        around: three rows; see `_RowScratch`.
        first: column of the chunk in the heatmap.
        floor: value that maxima must exceed.
        least: what map pixels that contain such maxima exceed.
        nearest: weight of the far map pixel at the input pixel nearest to the middle.
        ratings: [_CHUNK] result.
    """
    for offset in range(_CHUNK):  # a constant number, so that the compiler vectorises it
        x = first + offset
        a, b, c = around[0, x], around[0, x + 1], around[0, x + 2]
        d, e, f = around[1, x], around[1, x + 1], around[1, x + 2]
        g, h, i = around[2, x], around[2, x + 1], around[2, x + 2]
        upper = lerp(e, b, nearest) - max(lerp(d, a, nearest), lerp(f, c, nearest))
        lower = lerp(e, h, nearest) - max(lerp(d, g, nearest), lerp(f, i, nearest))
        left = lerp(e, d, nearest) - max(lerp(b, a, nearest), lerp(h, g, nearest))
        right = lerp(e, f, nearest) - max(lerp(b, c, nearest), lerp(h, i, nearest))
        rise = min(max(upper, lower), max(left, right))
        rise += np.float32(_ROUNDING) * abs(e) + _TINY
        # no input pixel exceeds the highest of the map pixels around it
        highest = max(max(max(max(a, b), c), max(max(d, e), f)), max(max(g, h), i))
        ratings[offset] = min(min(rise, e - least), highest - floor)


@inlined
def _exceeds(heatmap: np.ndarray, row: Int, least: Float) -> bool:
    """Whether any map pixel of a row exceeds a value."""
    width = heatmap.shape[1]
    for first in range(0, width, _CHUNK):
        exceeds = False
        if width - first < _CHUNK:
            for column in range(first, width):
                exceeds |= heatmap[row, column] > least
        else:
            for offset in range(_CHUNK):  # a constant number, so that the compiler vectorises it
                exceeds |= heatmap[row, first + offset] > least
        if exceeds:
            return True
    return False


@inlined
def _is_flat(heatmap: np.ndarray, row: Int, column: Int) -> bool:
    """Whether all map pixels around one equal it, so that all of its input pixels are maxima."""
    height, width = heatmap.shape
    value = heatmap[row, column]
    for y in range(max(row - _REACH, 0), min(row + _REACH + 1, height)):
        for x in range(max(column - _REACH, 0), min(column + _REACH + 1, width)):
            if heatmap[y, x] != value:
                return False
    return True


@inlined
def _local_maxima(
    heatmap: np.ndarray, grid: Grid, row: Int, column: Int, inside: np.ndarray, at: Int
) -> bool:
    """Write the scores of local maxima among the input pixels of a map pixel.

    Args:
        heatmap: [h, w].
        grid: of the heatmap.
        row: of the map pixel.
        column: of the map pixel.
        inside: [w, ratio, ratio], entry `at` is written; -inf where there is no maximum.
        at: index into `inside`.

    Returns:
        Whether there are any.
    """
    ratio = inside.shape[1]
    middle, lowest = ratio // 2, np.float32(-np.inf)
    # All input pixels of a map pixel are around each of its middle ones, if they are near enough.
    least, highest = lowest, lowest
    for down in range(ratio):
        for across in range(ratio):
            y, x = row * ratio + down, column * ratio + across
            score = sample_bilinear(heatmap, grid, y, x)
            inside[at, down, across], highest = score, max(highest, score)
            if middle - 1 <= min(down, across) and max(down, across) <= middle <= _REACH:
                least = max(least, score)
    some = False
    for down in range(ratio):
        for across in range(ratio):
            score, y, x = inside[at, down, across], row * ratio + down, column * ratio + across
            skip = ratio if score == highest else _ZERO
            if score >= least and _is_local_maximum(heatmap, grid, y, x, score, skip):
                some = True
            else:
                inside[at, down, across] = lowest
    return some


@inlined
def _is_local_maximum(
    heatmap: np.ndarray, grid: Grid, y: Int, x: Int, score: Float, skip: Int
) -> bool:
    """Whether no input pixel of the 5 x 5 ones around one exceeds its score.

    Args:
        heatmap: [h, w].
        grid: of the heatmap.
        y: of the pixel.
        x: of the pixel.
        score: of the pixel.
        skip: input pixels per map pixel, if those of the same map pixel are known not to exceed
            the score; else 0.
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


def refine_peaks(
    keypoints: np.ndarray, image: np.ndarray, maps: DecodingMaps, *, subpixel: bool
) -> None:
    """Move keypoints from whole input pixels to their sub-pixel positions, in place.

    Args:
        keypoints: [T, K, 3] x, y (input pixels), score of all people of a batch; a score of 0 marks
            a missing keypoint, which is left unchanged.
        image: [T] int64, the image of each person.
        maps: network outputs of the batch.
        subpixel: see `refine_peak`.
    """
    run_parallel(
        lambda start, stop: _refine_peaks(keypoints, image, maps, subpixel, start, stop),
        keypoints.shape[1],
    )


@compiled
def _refine_peaks(
    keypoints: np.ndarray,
    image: np.ndarray,
    maps: DecodingMaps,
    subpixel: bool,
    start: Int,
    stop: Int,
) -> None:
    """Refine the detected keypoints number `start` to `stop` of all people."""
    for person in range(keypoints.shape[0]):
        for keypoint in range(start, stop):
            point = keypoints[person, keypoint]
            if point[2] > 0:
                heatmap, y, x = maps.heatmaps[image[person], keypoint], int(point[1]), int(point[0])
                point[0], point[1] = refine_peak(heatmap, maps.heatmap_grid, y, x, subpixel)


@compiled
def refine_peak(
    heatmap: np.ndarray, grid: Grid, y: Int, x: Int, subpixel: bool
) -> tuple[Float, Float]:
    """Return the position x, y of a peak in input pixels.

    Args:
        heatmap: [h, w].
        grid: of the heatmap.
        y: of the peak in whole input pixels.
        x: x of the peak in whole input pixels.
        subpixel: whether the network was trained with sub-pixel targets: then the position is the
            maximum of the Gaussian through a map pixel and its neighbours, along each axis (a
            parabola through logarithms; Zhang 2020 writes it as a Taylor step). Otherwise it is the
            centre of the input pixel and a quarter toward the higher neighbour (Newell 2017).
    """
    height, width = len(grid.rows.near), len(grid.columns.near)
    if not subpixel:
        left = sample_bilinear(heatmap, grid, y, max(x - 1, 0))
        right = sample_bilinear(heatmap, grid, y, min(x + 1, width - 1))
        above = sample_bilinear(heatmap, grid, max(y - 1, 0), x)
        below = sample_bilinear(heatmap, grid, min(y + 1, height - 1), x)
        return x + (0.75 if right > left else 0.25), y + (0.75 if below > above else 0.25)
    ratio = width // heatmap.shape[1]
    # neighbours in heatmaps that were upsampled already differ by interpolation only
    step = 1 if ratio > 1 else STRIDE
    row, column = y // ratio, x // ratio
    across = down = np.float32(0)
    if step <= column < heatmap.shape[1] - step:
        across = _vertex(
            heatmap[row, column - step], heatmap[row, column], heatmap[row, column + step]
        )
    if step <= row < heatmap.shape[0] - step:
        down = _vertex(
            heatmap[row - step, column], heatmap[row, column], heatmap[row + step, column]
        )
    centre = (ratio - 1) / 2
    return ratio * (column + step * across) + centre, ratio * (row + step * down) + centre


@compiled
def _vertex(before: Float, here: Float, after: Float) -> Float:
    """Return the offset, -0.5 to 0.5, of the maximum of the Gaussian through three values."""
    low, mid, high = (
        np.log(max(before, _MIN_LOG)),
        np.log(max(here, _MIN_LOG)),
        np.log(max(after, _MIN_LOG)),
    )
    bend = 2 * mid - low - high
    if not bend > 0:
        return np.float32(0)
    return min(max((high - low) / (2 * bend), np.float32(-0.5)), np.float32(0.5))
