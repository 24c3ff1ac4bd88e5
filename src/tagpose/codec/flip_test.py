"""Flip test on the CPU: outputs for an image and its flipped image are merged where they are read.

Each heatmap is averaged when it is searched, in the cache of one core; averaging all of them with
torch takes three times as long. Tags are read at peaks, and in the maps of missing keypoints.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.compilation import Int, compiled
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


@compiled
def read_heatmap(maps: DecodingMaps, image: Int, keypoint: Int, mean: np.ndarray) -> np.ndarray:
    """Return a heatmap [h, w], with the flip test the mean of both.

    Args:
        maps: network outputs of a batch.
        image: index of the image.
        keypoint: index of the keypoint.
        mean: buffer [h, w] for the mean.
    """
    original = maps.heatmaps[image, keypoint]
    if len(maps.flipped_heatmaps) == 0:
        return original
    flipped = maps.flipped_heatmaps[image, maps.flip_indices[keypoint]]
    # an unsigned index cannot be negative, so that the compiler vectorizes the reversed row
    width, half = np.uint64(mean.shape[1]), np.float32(0.5)
    last = width - np.uint64(1)
    for y in range(mean.shape[0]):
        for x in range(width):
            mean[y, x] = (original[y, x] + flipped[y, last - x]) * half
    return mean
