"""Lazily read heatmaps, averaged with the flip test only where the decoder needs them.

Each heatmap is averaged when it is searched, in the cache of one core; averaging all of them with
torch takes three times as long. Tags are read at peaks, and in the maps of missing keypoints.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.compilation import Int, compilable, compilable_with_arrays
from tagpose.codec.decoding_maps import DecodingMaps


class LazyHeatmap(NamedTuple):
    """A heatmap, with the flip test the mean of both, of which blocks are read when needed."""

    image: int
    keypoint: int
    values: np.ndarray  # [h, w] float32: `original`, or with the flip test the mean of both
    original: np.ndarray  # [h, w] float32
    flipped: np.ndarray  # [h, w] float32, for the flipped image; without the flip test `original`
    flip_test: bool
    is_ready: np.ndarray  # [blocks] bool, whether a block was read


@compilable_with_arrays
def make_heatmap(
    maps: DecodingMaps, image: Int, keypoint: Int, mean: np.ndarray, is_ready: np.ndarray
) -> LazyHeatmap:
    """Return a heatmap of which nothing is read.

    Args:
        maps: network outputs of a batch.
        image: index of the image.
        keypoint: index of the keypoint.
        mean: buffer [h, w] for the mean.
        is_ready: buffer [blocks] bool.
    """
    flip_test = len(maps.flipped_heatmaps) > 0
    for block in range(len(is_ready)):
        is_ready[block] = not flip_test
    values = flipped = original = maps.heatmaps[image, keypoint]
    if flip_test:
        values, flipped = mean, maps.flipped_heatmaps[image, maps.flip_indices[keypoint]]
    return LazyHeatmap(image, keypoint, values, original, flipped, flip_test, is_ready)


@compilable
def read_area(heatmap: LazyHeatmap, top: Int, left: Int, bottom: Int, right: Int) -> None:
    """Read the area of a heatmap from `top`, `left` to `bottom`, `right`, exclusive.

    The area may extend beyond the heatmap.
    """
    if not heatmap.flip_test:
        return
    mean, original, flipped = heatmap.values, heatmap.original, heatmap.flipped
    # an unsigned index cannot be negative, so that the compiler vectorizes the reversed row
    first, last = np.uint64(max(left, 0)), np.uint64(min(right, mean.shape[1]))
    end, half = np.uint64(mean.shape[1] - 1), np.float32(0.5)
    for y in range(max(top, 0), min(bottom, mean.shape[0])):
        for x in range(first, last):
            mean[y, x] = (original[y, x] + flipped[y, end - x]) * half
