"""Network outputs of a batch, also for flipped images, laid out for the decoder's compiled code."""

from typing import NamedTuple

import numpy as np

from tagpose.codec.interpolation import Grid
from tagpose.codec.tiling import Tiling
from tagpose.structures import STRIDE


class DecodingMaps(NamedTuple):
    """Heatmaps and tags of a batch and the grids on which they are interpolated.

    With the flip test, F is 1, and the outputs for the flipped images are merged where they are
    read; otherwise F is 0. The number of tags at every position, V, is (1 + F) L.
    """

    heatmaps: np.ndarray  # [B, K, h, w] float32
    tags: np.ndarray  # [B, L, G, h, w] float32
    flipped_heatmaps: np.ndarray  # [B * F, K, h, w] float32, of the flipped images
    flipped_tags: np.ndarray  # [B, L * F, G, h, w] float32, of the flipped images
    flip_indices: np.ndarray  # [K] int64; see `ChannelFlipIndices`
    tag_flip_indices: np.ndarray  # [G] int64
    tag_index: np.ndarray  # [K] int64, the tag map of each keypoint
    heatmap_grid: Grid
    tag_grid: Grid
    tiling: Tiling

    @property
    def tag_count(self) -> int:
        """Number of tags at every position, V."""
        return int(self.tags.shape[1] + self.flipped_tags.shape[1])


def check_shapes(
    heatmaps: tuple[int, ...],
    tags: tuple[int, ...],
    input_shape: tuple[int, int],
    keypoints: int,
    tag_maps: int,
) -> None:
    """Validate the shapes of heatmaps and tags.

    Args:
        heatmaps: shape of the heatmaps.
        tags: shape of the tags.
        input_shape: height, width of the network's input.
        keypoints: expected number of heatmaps, K.
        tag_maps: expected number of tag maps, G.

    Raises:
        ValueError: if the maps do not fit the skeleton, the input, or each other.
    """
    if len(heatmaps) != 4 or len(tags) != 5 or heatmaps[0] != tags[0]:
        raise ValueError(
            f"heatmaps and tags have the shapes {list(heatmaps)} and {list(tags)}; expected "
            "[B, K, h, w] and [B, L, G, h, w] of the same batch"
        )
    if (heatmaps[1], tags[2]) != (keypoints, tag_maps):
        raise ValueError(
            f"the network has {heatmaps[1]} heatmaps and {tags[2]} tag maps, but the decoder "
            f"expects {keypoints} and {tag_maps}; use a network and a decoder of the same skeleton"
        )
    fine, coarse = heatmaps[-2:], tags[-2:]
    for larger, smaller in ((input_shape, coarse), (input_shape, fine), (fine, coarse)):
        ratios = {a / b for a, b in zip(larger, smaller, strict=True)}
        if len(ratios) > 1 or not ratios.pop().is_integer():
            raise ValueError(
                f"the sizes of input {input_shape}, heatmaps {fine} and tags {coarse} are not "
                "multiples of each other; pass outputs for the same image"
            )
    if input_shape[0] > STRIDE * fine[0]:
        raise ValueError(
            f"heatmaps of size {fine} for an input of {input_shape} are coarser than the network's "
            f"stride of {STRIDE}; pass the network's own outputs or upsampled ones"
        )


def check_finite(finite: np.ndarray) -> None:
    """Raise a ValueError unless all maps are finite.

    Args:
        finite: bool, one flag for each map.
    """
    if not finite.all():
        raise ValueError(
            "the network's output contains NaN or infinity; training diverged or half precision "
            "overflowed, so use another checkpoint or 32-bit precision"
        )


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
