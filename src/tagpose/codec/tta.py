"""Test-time augmentation: merge the network's outputs at several resolutions, flips and scales."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.skeletons.skeleton import ChannelFlipIndices
from tagpose.structures import KeypointMaps, MultiResolutionMaps


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample maps bilinearly, without aligning corners.

    Args:
        maps: [..., h, w], at least one leading axis.
        size: height, width of the result.

    Returns:
        [..., height, width]; `maps` itself if it has that size already.
    """
    if maps.shape[-2:] == size:
        return maps
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    larger = functional.interpolate(flat, size, mode="bilinear", align_corners=False)
    return larger.view(*maps.shape[:-2], *size)


def merge_resolutions(resolutions: MultiResolutionMaps) -> KeypointMaps:
    """Average the heatmaps of all resolutions at the finest one (Cheng 2020, "Aggregation").

    Tags are kept at their resolution. MMPose upsamples them to the finest one and then again to the
    input; that differs by 0.04 at most where people's tags are 1.2 apart.
    """
    *coarser, finest = resolutions.heatmaps
    if not coarser:
        return KeypointMaps(finest, resolutions.tags)
    size = finest.shape[-2], finest.shape[-1]
    total = finest + sum(upsample(each, size) for each in coarser)
    return KeypointMaps(total / len(resolutions.heatmaps), resolutions.tags)


def flip_maps(keypoint_maps: KeypointMaps, flip_indices: ChannelFlipIndices) -> KeypointMaps:
    """Flip maps horizontally and swap the channels of left and right keypoints.

    Args:
        keypoint_maps: outputs for a batch.
        flip_indices: of the network.

    Returns:
        Maps of the same shapes; flipping them again restores the input.
    """
    swap = (torch.tensor(i).to(keypoint_maps.tags.device, non_blocking=True) for i in flip_indices)
    channels = zip(keypoint_maps, (1, 2), swap, strict=True)
    return KeypointMaps(*(maps.index_select(axis, i).flip(-1) for maps, axis, i in channels))


def merge_flip(
    keypoint_maps: KeypointMaps, flipped: KeypointMaps, flip_indices: ChannelFlipIndices
) -> KeypointMaps:
    """Merge the two outputs of the flip test.

    Args:
        keypoint_maps: output for the images.
        flipped: output for the flipped images, not flipped back yet.
        flip_indices: of the network.

    Returns:
        The mean of the heatmaps, and the tags of both, concatenated along L.
    """
    back = flip_maps(flipped, flip_indices)
    heatmaps = ((keypoint_maps.heatmaps + back.heatmaps) / 2).contiguous()
    return KeypointMaps(heatmaps, torch.cat([keypoint_maps.tags, back.tags], dim=1))


def merge_scales(
    views: Sequence[KeypointMaps],
    reference: int,
    size: tuple[int, int],
    *,
    multi_scale_tags: bool = False,
) -> KeypointMaps:
    """Merge the outputs at several scales.

    Tags of different scales cannot be compared with each other, so MMPose uses those of one scale;
    the alternative is to compare them side by side, like those of the flip test.

    Args:
        views: outputs for the same images, one per scale, each with its own h, w.
        reference: index of scale 1.
        size: height, width of the input at scale 1.
        multi_scale_tags: whether the tags of all scales are used.

    Returns:
        Heatmaps [B, K, H, W] at the size of the input, averaged over the scales, and tags
        [B, L, G, h, w] at the size of scale 1; L is the sum over all scales with `multi_scale_tags`.
    """
    total = torch.zeros(*views[reference].heatmaps.shape[:2], *size).to(views[reference].heatmaps)
    for view in views:
        total += upsample(view.heatmaps, size)
    tags = views[reference].tags
    if multi_scale_tags:
        map_size = tags.shape[-2], tags.shape[-1]
        tags = torch.cat([upsample(view.tags, map_size) for view in views], 1)
    return KeypointMaps(heatmaps=total / len(views), tags=tags)
