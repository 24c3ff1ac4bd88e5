"""Test-time augmentation: merge the network's outputs at several resolutions, flips and scales."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.skeleton import FlipIndices
from tagpose.structures import Fields, Pyramid


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


def merge_resolutions(pyramid: Pyramid) -> Fields:
    """Average the heatmaps of all resolutions at the finest one (Cheng 2020, "Aggregation").

    Tags are kept at their resolution. MMPose upsamples them to the finest one and then again to the
    input; that differs by 0.04 at most where people's tags are 1.2 apart.
    """
    *coarser, finest = pyramid.heatmaps
    if not coarser:
        return Fields(finest, pyramid.tags)
    size = finest.shape[-2], finest.shape[-1]
    total = finest + sum(upsample(each, size) for each in coarser)
    return Fields(total / len(pyramid.heatmaps), pyramid.tags)


def flip_maps(fields: Fields, flip_indices: FlipIndices) -> Fields:
    """Flip maps horizontally and swap the channels of left and right keypoints.

    Args:
        fields: outputs for a batch.
        flip_indices: of the network.

    Returns:
        Maps of the same shapes; flipping them again restores the input.
    """
    swap = (torch.tensor(i).to(fields.tags.device, non_blocking=True) for i in flip_indices)
    channels = zip(fields, (1, 2), swap, strict=True)
    return Fields(*(maps.index_select(axis, i).flip(-1) for maps, axis, i in channels))


def merge_flip(fields: Fields, flipped: Fields, flip_indices: FlipIndices) -> Fields:
    """Merge the two outputs of the flip test.

    Args:
        fields: output for the images.
        flipped: output for the flipped images, not flipped back yet.
        flip_indices: of the network.

    Returns:
        The mean of the heatmaps, and the tags of both, concatenated along L.
    """
    back = flip_maps(flipped, flip_indices)
    heatmaps = ((fields.heatmaps + back.heatmaps) / 2).contiguous()
    return Fields(heatmaps, torch.cat([fields.tags, back.tags], dim=1))


def merge_scales(
    views: Sequence[Fields], reference: int, size: tuple[int, int], *, every_tag: bool = False
) -> Fields:
    """Merge the outputs at several scales.

    Tags of different scales cannot be compared with each other, so MMPose uses those of one scale;
    the alternative is to compare them side by side, like those of the flip test.

    Args:
        views: outputs for the same images, one per scale, each with its own h, w.
        reference: index of scale 1.
        size: height, width of the input at scale 1.
        every_tag: whether the tags of all scales are used.

    Returns:
        Heatmaps [B, K, H, W] at the size of the input, averaged over the scales, and tags
        [B, L, G, h, w] at the size of scale 1; L is the sum over all scales with `every_tag`.
    """
    total = torch.zeros(*views[reference].heatmaps.shape[:2], *size).to(views[reference].heatmaps)
    for view in views:
        total += upsample(view.heatmaps, size)
    tags = views[reference].tags
    if every_tag:
        cells = tags.shape[-2], tags.shape[-1]
        tags = torch.cat([upsample(view.tags, cells) for view in views], 1)
    return Fields(heatmaps=total / len(views), tags=tags)
