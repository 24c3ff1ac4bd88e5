"""Peaks of heatmaps (non-maximum suppression) at the resolution of the network's input."""

from typing import NamedTuple

import numpy as np

from tagpose.codec.block_bounds import bound_heatmap, count_bounds, write_chunk_maxima
from tagpose.codec.compilation import (
    CHUNK,
    FALSE,
    TRUE,
    ZERO,
    Float,
    Int,
    compilable,
    compiled,
    run_parallel,
)
from tagpose.codec.decoding_maps import DecodingMaps, check_finite
from tagpose.codec.interpolation import Grid, sample_bilinear
from tagpose.codec.lazy_heatmap import make_heatmap, read_area
from tagpose.codec.local_maxima import ROUNDING, RowScratch, find_row_maxima
from tagpose.codec.peak_list import add_peak, has_ties, sort_heap
from tagpose.codec.subpixel import refine_peak
from tagpose.codec.tiling import Tiling


class Peaks(NamedTuple):
    """The N highest local maxima of each heatmap of a batch, by falling score."""

    xy: np.ndarray  # [B, K, N, 2] int32: x, y in whole input pixels
    scores: np.ndarray  # [B, K, N] float32: heatmap values, 0 if there are fewer peaks
    tags: np.ndarray  # [B, K, N, V] float32; see `DecodingMaps` for V
    refined_xy: np.ndarray  # [B, K, N, 2] float32: x, y in input pixels; see `refine_peak`
    block_maxima: np.ndarray  # [B, K, blocks] float32: see `BlockBounds`


def make_peaks(maps: DecodingMaps, count: int) -> Peaks:
    """Allocate `Peaks` for `count` peaks per heatmap, filled with zeros."""
    shape = (*maps.heatmaps.shape[:2], count)
    return Peaks(
        xy=np.zeros((*shape, 2), np.int32),
        scores=np.zeros(shape, np.float32),
        tags=np.zeros((*shape, maps.tag_count), np.float32),
        refined_xy=np.zeros((*shape, 2), np.float32),
        block_maxima=np.zeros((*shape[:2], count_bounds(maps.tiling)), np.float32),
    )


def find_peaks(maps: DecodingMaps, count: int, min_score: float, *, subpixel: bool) -> Peaks:
    """Find the highest local maxima (5 x 5 input pixels) of the upsampled heatmaps.

    No map is upsampled: input pixels are interpolated between four map pixels, so only map pixels
    that are not lower than their neighbors can contain a maximum.

    Args:
        maps: network outputs of a batch.
        count: maximum number of peaks per heatmap, N.
        min_score: heatmap value that a peak must exceed.
        subpixel: see `refine_peak`. If false, peaks with equal scores are in MMPose's order, that
            of torch.topk over the upsampled map on a CPU, which takes a second pass; otherwise they
            are in the order of the image. Nearly all such peaks are neighbors in one map pixel,
            which `refine_peak` moves to the same sub-pixel position.

    Raises:
        ValueError: if a heatmap or a tag at a peak is NaN or infinity.
    """
    peaks = make_peaks(maps, count)
    threshold = np.float32(min_score)
    finite = np.zeros(maps.heatmaps.shape[0] * maps.heatmaps.shape[1], np.bool_)
    run_parallel(
        lambda start, stop: _find_peaks(maps, threshold, start, stop, subpixel, peaks, finite),
        len(finite),
    )
    check_finite(finite)
    return peaks


@compiled
def _find_peaks(
    maps: DecodingMaps,
    min_score: Float,
    start: Int,
    stop: Int,
    subpixel: bool,
    peaks: Peaks,
    finite: np.ndarray,
) -> None:
    """Find the peaks of heatmaps number `start` to `stop` of a batch.

    Args:
        maps: network outputs of the batch.
        min_score: heatmap value that a peak must exceed.
        start: first image * K + keypoint.
        stop: end of the range, exclusive.
        subpixel: see `find_peaks`.
        peaks: output.
        finite: output [B * K] bool, whether the heatmap and the tags at its peaks are finite.
    """
    (_, keypoints, map_height, map_width), width = (
        maps.heatmaps.shape, len(maps.heatmap_grid.columns.near)
    )  # fmt: skip
    ratio = width // map_width
    mean = np.empty((map_height, map_width), np.float32)
    lines = np.empty((4, map_width), np.float32)
    is_ready = np.empty(0, np.bool_)
    scratch = RowScratch(
        np.empty(-(-map_width // CHUNK), np.float32),
        np.empty((3, CHUNK + 2), np.float32),
        np.empty(CHUNK, np.float32),
        np.empty(CHUNK, np.float32),
        np.empty(map_width, np.int64),
        np.empty((map_width, ratio, ratio), np.float32),
    )
    count = peaks.scores.shape[2]
    scores, positions = np.empty(count + 1, np.float32), np.empty(count + 1, np.int64)
    for number in range(start, stop):
        image, keypoint = number // keypoints, number % keypoints
        lazy = make_heatmap(maps, image, keypoint, mean, is_ready)
        read_area(lazy, ZERO, ZERO, map_height, map_width)
        heatmap, block_maxima = lazy.values, peaks.block_maxima[image, keypoint]
        lowest = bound_heatmap(heatmap, maps.tiling, block_maxima, lines)
        finite[number] = lowest > -np.inf and _find_heatmap_peaks(
            maps, heatmap, image, keypoint, min_score, lowest, subpixel, peaks, scores, positions,
            scratch,
        )  # fmt: skip


@compilable
def _find_heatmap_peaks(
    maps: DecodingMaps,
    heatmap: np.ndarray,
    image: Int,
    keypoint: Int,
    min_score: Float,
    lowest: Float,
    subpixel: bool,
    peaks: Peaks,
    scores: np.ndarray,
    positions: np.ndarray,
    scratch: RowScratch,
) -> bool:
    """Find the peaks of a heatmap [h, w].

    Args:
        maps: network outputs of the batch.
        heatmap: heatmap of the keypoint, with the flip test the mean of both.
        image: index of the image.
        keypoint: index of the keypoint.
        min_score: heatmap value that a peak must exceed.
        lowest: lower bound of the heatmap, 0 or less.
        subpixel: see `find_peaks`.
        peaks: output; its block maxima are read.
        scores: buffer [N + 1]: one peak more, because its score may equal that of the last one.
        positions: buffer [N + 1].
        scratch: buffers for one row.

    Returns:
        Whether the tags at the peaks are finite.
    """
    block_maxima, count = peaks.block_maxima[image, keypoint], len(scores) - 1
    width, finite = len(maps.heatmap_grid.columns.near), True
    grid, tiling = maps.heatmap_grid, maps.tiling
    _select_peaks(
        grid, tiling, heatmap, block_maxima, min_score, lowest, scores, positions, scratch, FALSE
    )
    if not subpixel and has_ties(scores):
        heap = scores[:count], positions[:count]
        _select_peaks(
            grid, tiling, heatmap, block_maxima, np.float32(0), lowest, heap[0], heap[1], scratch,
            TRUE,
        )  # fmt: skip
    for n in range(count):
        if scores[n] <= min_score:
            break
        y, x = positions[n] // width, positions[n] % width
        peaks.scores[image, keypoint, n] = scores[n]
        peaks.xy[image, keypoint, n, 0], peaks.xy[image, keypoint, n, 1] = x, y
        refined_x, refined_y = refine_peak(heatmap, grid, y, x, subpixel)
        peaks.refined_xy[image, keypoint, n, 0] = refined_x
        peaks.refined_xy[image, keypoint, n, 1] = refined_y
    # tags are not in the cache; without other work in between, several reads overlap
    for n in range(count):
        if scores[n] <= min_score:
            break
        y, x = positions[n] // width, positions[n] % width
        finite &= _read_tags(maps, image, keypoint, y, x, peaks.tags, n)
    return finite


@compilable
def _read_tags(
    maps: DecodingMaps, image: Int, keypoint: Int, y: Int, x: Int, tags: np.ndarray, n: Int
) -> bool:
    """Write the tags of peak `n` into `tags` [B, K, N, V], and return whether they are finite."""
    tag_map, views, total = maps.tag_index[keypoint], maps.tags.shape[1], np.float32(0)
    for view in range(views):
        tag = sample_bilinear(maps.tags[image, view, tag_map], maps.tag_grid, y, x)
        tags[image, keypoint, n, view] = tag
        total += tag - tag
    partner, flipped_x = maps.tag_flip_indices[tag_map], len(maps.tag_grid.columns.near) - 1 - x
    for view in range(maps.flipped_tags.shape[1]):
        tag = sample_bilinear(maps.flipped_tags[image, view, partner], maps.tag_grid, y, flipped_x)
        tags[image, keypoint, n, views + view] = tag
        total += tag - tag
    return total == 0


@compilable
def _select_peaks(
    grid: Grid,
    tiling: Tiling,
    heatmap: np.ndarray,
    block_maxima: np.ndarray,
    min_score: Float,
    lowest: Float,
    scores: np.ndarray,
    positions: np.ndarray,
    scratch: RowScratch,
    as_topk: bool,
) -> None:
    """Write the highest local maxima of a heatmap above a score, by falling score.

    Args:
        grid: grid of the heatmap.
        tiling: tiling of the maps.
        heatmap: heatmap [h, w].
        block_maxima: largest values in blocks of the heatmap; see `BlockBounds`.
        min_score: value that peaks must exceed.
        lowest: lower bound of the heatmap, 0 or less.
        scores: output [N], 0 if there are fewer peaks.
        positions: output [N], y * W + x in input pixels.
        scratch: buffers for one row.
        as_topk: whether peaks with equal scores are in the order of torch.topk.
    """
    ratio = scratch.inside.shape[1]
    scores[:], positions[:] = 0, -1
    # weight of the farther map pixel at the input pixel nearest to the center of a map pixel
    center_weight = grid.columns.weight[ratio // 2]
    # A maximum with score s lies in a map pixel of at least (1 - share) s + share * lowest, which
    # follows from the comparisons in `_rate_chunk` and from bilinear interpolation.
    share = np.float32((center_weight / (1 - center_weight)) ** 2 + ROUNDING)
    heap_ready = FALSE
    for row in range(heatmap.shape[0]):
        write_chunk_maxima(tiling, row, block_maxima, scratch.chunks)
        floor = min_score
        if heap_ready or not as_topk:  # the first of a heap or the last of a list is the lowest
            floor = max(min_score, min(scores[0], scores[-1]))
        pixel_floor = np.float32(floor - share * (floor - lowest))
        count = find_row_maxima(heatmap, grid, row, floor, pixel_floor, center_weight, scratch)
        heap_ready = _add_row(
            scores, positions, scratch, count, row, min_score, as_topk, heap_ready
        )
    if as_topk:
        sort_heap(scores, positions, heap_ready)


@compilable
def _add_row(
    scores: np.ndarray,
    positions: np.ndarray,
    scratch: RowScratch,
    count: Int,
    row: Int,
    min_score: Float,
    as_topk: bool,
    heap_ready: bool,
) -> bool:
    """Add the peaks of one row of a heatmap to a list or heap, in the order of input pixels.

    Returns:
        Whether the heap is ordered.
    """
    ratio, width = scratch.inside.shape[1], scratch.inside.shape[0]
    for down in range(ratio):
        line = (row * ratio + down) * width * ratio
        for number in range(count):
            for across in range(ratio):
                score = scratch.inside[number, down, across]
                if score > min_score:
                    position = line + scratch.columns[number] * ratio + across
                    heap_ready = add_peak(scores, positions, score, position, as_topk, heap_ready)
    return heap_ready
