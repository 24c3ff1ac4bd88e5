"""Fill in a person's missing keypoints from the heatmaps and the person's mean tag.

The position of a missing keypoint is the first maximum of heatmap - round(|tag - mean tag|) over
all input pixels (Newell 2017's code). The maps are not upsampled. In a tile, the area between the
centers of four map pixels, they are bilinear, so no heatmap value exceeds the largest of the four
corners, and tags lie within their range. The search is exact and evaluates only blocks of 4 x 4
tiles, and in them tiles, whose upper bound reaches the best value so far.
"""

from functools import partial
from typing import Final, NamedTuple

import numpy as np

from tagpose.codec.block_bounds import BlockBounds
from tagpose.codec.compilation import CHUNK, Int, compilable, compiled, run_parallel
from tagpose.codec.decoding_maps import DecodingMaps, check_finite
from tagpose.codec.interpolation import sample_bilinear
from tagpose.codec.lazy_heatmap import LazyHeatmap, make_heatmap, read_area
from tagpose.codec.subpixel import refine_peak
from tagpose.codec.tile_search import SearchBuffers, search_argmax
from tagpose.codec.tiling import BLOCK
from tagpose.structures import STRIDE

# Maximum work for one keypoint of all people of an image: input pixels evaluated, tiles bounded and
# comparisons to find the best block. Outputs of trained networks take up to 70,000. Tags that are
# noise of large amplitude would take hundreds of times as much, and the positions found in them are
# meaningless.
_MAX_WORK: Final = np.int64(200_000)


class SearchStats(NamedTuple):
    """Statistics of the search for missing keypoints."""

    work: np.ndarray  # [B, K] int64; see `_MAX_WORK`
    unfinished: np.ndarray  # [B, K] int64: number of searches that ended early


def fill_missing(
    keypoints: np.ndarray,
    image: np.ndarray,
    person_tags: np.ndarray,
    maps: DecodingMaps,
    block_maxima: np.ndarray,
    *,
    subpixel: bool,
) -> SearchStats:
    """Fill in missing keypoints in place.

    The searches for a keypoint in an image end after a fixed amount of work, so that no input takes
    long; people with higher scores are searched first. See `SearchStats`.

    Args:
        keypoints: x, y (input pixels), score [T, K, 3] of all people of a batch, image by image.
            Keypoints with a score of 0 are missing; they stay missing if the heatmap is not
            positive at the position found.
        image: index [T] int64 of the image of each person, ascending.
        person_tags: mean tags [T, V] float32.
        maps: network outputs of the batch.
        block_maxima: see `Peaks`.
        subpixel: see `refine_peak`.

    Returns:
        The work and the number of unfinished searches for each keypoint.

    Raises:
        ValueError: if a tag that is read is NaN or infinity.
    """
    shape = maps.heatmaps.shape[:2]
    stats = SearchStats(np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    finite = np.ones(shape, np.bool_)
    first_person = np.searchsorted(image, np.arange(len(finite) + 1))
    fill = partial(
        _fill_missing,
        keypoints,
        first_person,
        person_tags,
        maps,
        block_maxima,
        subpixel,
        stats,
        finite,
    )
    run_parallel(fill, finite.size)
    check_finite(finite)
    return stats


@compiled
def _fill_missing(
    keypoints: np.ndarray,
    first_person: np.ndarray,
    person_tags: np.ndarray,
    maps: DecodingMaps,
    block_maxima: np.ndarray,
    subpixel: bool,
    stats: SearchStats,
    finite: np.ndarray,
    start: Int,
    stop: Int,
) -> None:
    """Fill in the keypoints of heatmaps number `start` to `stop` of the batch.

    Args:
        keypoints: see `fill_missing`.
        first_person: index [B + 1] of the first person of each image.
        person_tags: see `fill_missing`.
        maps: see `fill_missing`.
        block_maxima: see `Peaks`.
        subpixel: see `refine_peak`.
        stats: output.
        finite: output [B, K] bool, whether all tags read so far are finite.
        start: first image * K + keypoint.
        stop: end of the range, exclusive.
    """
    views, blocks = person_tags.shape[1], block_maxima.shape[2]
    low, high = np.empty((views, blocks), np.float32), np.empty((views, blocks), np.float32)
    buffers = SearchBuffers(
        np.empty(blocks, np.float32),
        np.empty(blocks // CHUNK, np.float32),
        np.empty(CHUNK, np.float32),
        np.empty(BLOCK**2, np.float32),
        np.empty(BLOCK**2, np.float32),
        np.empty((views, BLOCK + 1, BLOCK + 1), np.float32),
        np.empty((views, 2), np.float32),
        np.ones(1, np.bool_),
    )
    mean, is_ready = np.empty(maps.heatmaps.shape[2:], np.float32), np.empty(blocks, np.bool_)
    current = -1, -1  # image and tag map of the ranges of tags in `low` and `high`
    for number in range(start, stop):
        image, keypoint = number // keypoints.shape[1], number % keypoints.shape[1]
        first, last = first_person[image], first_person[image + 1]
        if not (keypoints[first:last, keypoint, 2] == 0).any():
            continue
        bounds = BlockBounds(block_maxima[image, keypoint], low, high)
        if not (bounds.heat > 0).any():
            continue
        tag_map = maps.tag_index[keypoint]
        if current != (image, tag_map):
            low.fill(-np.inf)
            high.fill(np.inf)
            current = image, tag_map
        heatmap = make_heatmap(maps, image, keypoint, mean, is_ready)
        work, unfinished = _fill_keypoint(
            keypoints[first:last, keypoint], person_tags[first:last], heatmap, maps, bounds,
            buffers, subpixel,
        )  # fmt: skip
        stats.work[image, keypoint], stats.unfinished[image, keypoint] = work, unfinished
        finite[image, keypoint] = buffers.finite[0]


@compilable
def _fill_keypoint(
    points: np.ndarray,
    person_tags: np.ndarray,
    heatmap: LazyHeatmap,
    maps: DecodingMaps,
    bounds: BlockBounds,
    buffers: SearchBuffers,
    subpixel: bool,
) -> tuple[Int, Int]:
    """Fill in one keypoint of the people of an image.

    Args:
        points: x, y, score [P, 3].
        person_tags: mean tags [P, V].
        heatmap: heatmap of the keypoint.
        maps: network outputs of the batch.
        bounds: bounds of the keypoint's maps.
        buffers: scratch memory.
        subpixel: see `refine_peak`.

    Returns:
        The work and the number of unfinished searches.
    """
    grid, total, unfinished = maps.heatmap_grid, 0, 0
    for person in range(len(points)):
        if points[person, 2] != 0:
            continue
        position, work, finished = search_argmax(
            heatmap, maps, person_tags[person], bounds, buffers, _MAX_WORK - total
        )
        total += work
        unfinished += not finished
        y, x = position // len(grid.columns.near), position % len(grid.columns.near)
        row, column = grid.rows.near[y], grid.columns.near[x]
        read_area(  # the map pixels that `refine_peak` reads
            heatmap, row - STRIDE, column - STRIDE, row + STRIDE + 1, column + STRIDE + 1
        )
        score = sample_bilinear(heatmap.values, grid, y, x)
        if score > 0:
            points[person, 0], points[person, 1] = refine_peak(heatmap.values, grid, y, x, subpixel)
            points[person, 2] = score
    return total, unfinished
