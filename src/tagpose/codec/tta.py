"""Test-time augmentation: merge network outputs over resolutions, flips and scales."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.skeletons.skeleton import ChannelFlipIndices
from tagpose.structures import KeypointMaps, MultiResolutionMaps


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample maps bilinearly, without aligning corners.

    Args:
        maps: maps [..., h, w] with at least one leading axis.
        size: height, width of the result.

    Returns:
        Maps [..., height, width]; `maps` itself if it already has that size.
    """
    if maps.shape[-2:] == size:
        return maps
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    upsampled = functional.interpolate(flat, size, mode="bilinear", align_corners=False)
    return upsampled.view(*maps.shape[:-2], *size)


def merge_resolutions(resolutions: MultiResolutionMaps) -> KeypointMaps:
    """Average the heatmaps of all resolutions at the finest one (Cheng 2020, "Aggregation").

    Tags keep their resolution. MMPose upsamples them to the finest one and then again to the input
    size, which differs by at most 0.04 where people's tags are 1.2 apart.
    """
    *coarser, finest = resolutions.heatmaps
    if not coarser:
        return KeypointMaps(finest, resolutions.tags)
    size = finest.shape[-2], finest.shape[-1]
    total = finest + sum(upsample(heatmaps, size) for heatmaps in coarser)
    return KeypointMaps(total / len(resolutions.heatmaps), resolutions.tags)


def flip_maps(keypoint_maps: KeypointMaps, flip_indices: ChannelFlipIndices) -> KeypointMaps:
    """Flip maps horizontally and swap the channels of left and right keypoints.

    Args:
        keypoint_maps: outputs for a batch.
        flip_indices: channel flip indices of the network.

    Returns:
        Maps of the same shapes; flipping them again restores the original.
    """
    device = keypoint_maps.tags.device
    indices = (torch.tensor(i).to(device, non_blocking=True) for i in flip_indices)
    channels = zip(keypoint_maps, (1, 2), indices, strict=True)
    return KeypointMaps(*(maps.index_select(axis, i).flip(-1) for maps, axis, i in channels))


def merge_flip(
    keypoint_maps: KeypointMaps, flipped: KeypointMaps, flip_indices: ChannelFlipIndices
) -> KeypointMaps:
    """Merge the two outputs of the flip test.

    Args:
        keypoint_maps: outputs for the images.
        flipped: outputs for the flipped images, not flipped back yet.
        flip_indices: channel flip indices of the network.

    Returns:
        The mean heatmaps, and the tags of both outputs concatenated along L.
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

    Tags of different scales cannot be averaged, so MMPose uses those of one scale. The alternative
    is to concatenate them, as for the flip test.

    Args:
        views: outputs for the same images, one per scale, with different h and w.
        reference: index of scale 1.
        size: height, width of the input at scale 1.
        multi_scale_tags: whether to use the tags of all scales.

    Returns:
        Mean heatmaps [B, K, H, W] at the input size, and tags [B, L, G, h, w] at the resolution of
        scale 1; with `multi_scale_tags`, L is the sum over all scales.
    """
    total = torch.zeros(*views[reference].heatmaps.shape[:2], *size).to(views[reference].heatmaps)
    for view in views:
        total += upsample(view.heatmaps, size)
    tags = views[reference].tags
    if multi_scale_tags:
        map_size = tags.shape[-2], tags.shape[-1]
        tags = torch.cat([upsample(view.tags, map_size) for view in views], 1)
    return KeypointMaps(heatmaps=total / len(views), tags=tags)
