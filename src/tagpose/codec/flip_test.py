"""Flip test on the CPU: outputs for an image and its flipped image are merged where they are read.

Each heatmap is averaged when it is searched, in the cache of one core; averaging all of them with
torch takes three times as long. Tags are read at peaks, and in the maps of missing keypoints.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.compilation import Int, compiled, compiled_with_arrays
from tagpose.codec.decoding_maps import DecodingMaps


class FlippedOutputs(NamedTuple):
    """Heatmaps and tags of the flipped images of a batch, not flipped back yet."""

    heatmaps: np.ndarray  # [B, K, h, w] float32
    tags: np.ndarray  # [B, L, G, h, w] float32
    flip_indices: np.ndarray  # [K] int64; see `ChannelFlipIndices`
    tag_flip_indices: np.ndarray  # [G] int64


def add_flipped(original: DecodingMaps, flipped: FlippedOutputs) -> DecodingMaps:
    """Return the maps with the outputs for the flipped images.

    Raises:
        ValueError: if the outputs for the flipped images do not fit those for the images.
    """
    types = (np.float32, np.float32, np.int64, np.int64)
    flipped = FlippedOutputs(
        *(np.require(a, dtype, ["C", "W"]) for a, dtype in zip(flipped, types, strict=True))
    )
    shapes = flipped.heatmaps.shape, flipped.tags.shape
    if shapes != (original.heatmaps.shape, original.tags.shape):
        raise ValueError(
            f"outputs for the flipped images have shapes {shapes} and those for the images "
            f"{(original.heatmaps.shape, original.tags.shape)}; pass outputs of the same network "
            "for the same images"
        )
    for name, indices, channels in (
        ("flip indices", flipped.flip_indices, original.heatmaps.shape[1]),
        ("flip indices of tag maps", flipped.tag_flip_indices, original.tags.shape[2]),
    ):
        if sorted(indices) != list(range(channels)):
            raise ValueError(
                f"got {len(indices)} {name} for {channels} channels; expected a permutation of all "
                "channels, such as `network.channel_flip_indices`"
            )
    return original._replace(
        flipped_heatmaps=flipped.heatmaps,
        flipped_tags=flipped.tags,
        flip_indices=flipped.flip_indices,
        tag_flip_indices=flipped.tag_flip_indices,
    )


class LazyHeatmap(NamedTuple):
    """A heatmap, with the flip test the mean of both, of which blocks are read when needed."""

    image: int
    keypoint: int
    values: np.ndarray  # [h, w] float32
    is_ready: np.ndarray  # [blocks] bool, whether a block was read


@compiled_with_arrays
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
    flipped = len(maps.flipped_heatmaps) > 0
    for block in range(len(is_ready)):
        is_ready[block] = not flipped
    values = mean if flipped else maps.heatmaps[image, keypoint]
    return LazyHeatmap(image, keypoint, values, is_ready)


@compiled
def read_area(
    maps: DecodingMaps, heatmap: LazyHeatmap, top: Int, left: Int, bottom: Int, right: Int
) -> None:
    """Read the area of a heatmap from `top`, `left` to `bottom`, `right`, exclusive.

    The area may extend beyond the heatmap.
    """
    if len(maps.flipped_heatmaps) == 0:
        return
    mean, original = heatmap.values, maps.heatmaps[heatmap.image, heatmap.keypoint]
    flipped = maps.flipped_heatmaps[heatmap.image, maps.flip_indices[heatmap.keypoint]]
    # an unsigned index cannot be negative, so that the compiler vectorizes the reversed row
    first, last = np.uint64(max(left, 0)), np.uint64(min(right, mean.shape[1]))
    end, half = np.uint64(mean.shape[1] - 1), np.float32(0.5)
    for y in range(max(top, 0), min(bottom, mean.shape[0])):
        for x in range(first, last):
            mean[y, x] = (original[y, x] + flipped[y, end - x]) * half
