"""Spatial tags: the predicted centers of people, as two further tags of every keypoint.

The network predicts the offset to the center of the person at every position, as in spatial
embeddings (Neven 2019), DEKR (Geng 2021) and CID (Wang 2022), so that two people who are apart
differ even if their learned tags are similar.
"""

from typing import Final

import torch
from torch import Tensor

_MIN_EXTENT: Final = 8.0  # heatmap pixels; COCO's limit of small people, 32 input pixels


def compute_center_offsets(pixels: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the targets of the offsets, and the extents of people.

    The center of a person is that of the box around the visible keypoints.

    Args:
        pixels: heatmap pixels [B, P, K, 2] int64 of the keypoints.
        visible: [B, P, K] bool.

    Returns:
        Offsets [B, P, K, 2] in heatmap pixels from each keypoint to the center of its person, 0 if
        it is not visible, and the longer side [B, P] of each box, at least that of a small person.
    """
    first, last = compute_box(pixels.float(), visible)
    to_center = ((first + last) / 2)[:, :, None] - pixels
    extents = (last - first).amax(-1).clamp(min=_MIN_EXTENT)
    return torch.where(visible[..., None], to_center, 0), extents


def compute_box(xy: Tensor, selected: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the box around selected keypoints.

    Args:
        xy: positions [B, P, K, 2].
        selected: [B, P, K] bool.

    Returns:
        The first x, y [B, P, 2], inf without selected keypoints, and the last x, y, -inf without.
    """
    first = torch.where(selected[..., None], xy, torch.inf).amin(2)
    last = torch.where(selected[..., None], xy, -torch.inf).amax(2)
    return first, last


def append_spatial_tags(tags: Tensor, offsets: Tensor, weight: float) -> Tensor:
    """Append the predicted centers of people to the tags.

    They are relative to the center of the map and in units of its shorter side, so that they are
    the same at any input size, and flipping an image changes only the sign of x. Tags of the image
    and of the flipped image are never compared with each other, so the flip test needs no sign.

    Args:
        tags: learned tags [B, 1, G, h, w].
        offsets: predicted offsets [B, 2, h, w] to the center of the person: x, y in heatmap pixels.
        weight: tag distance of two people whose centers are the shorter side of the map apart.

    Returns:
        Tags [B, 3, G, h, w]: the learned ones, x and y.
    """
    rows, columns = (
        torch.arange(length, dtype=torch.float32, device=offsets.device)
        for length in offsets.shape[-2:]
    )
    shorter_side = 1 + torch.minimum(rows[-1], columns[-1])  # of tensors, for the ONNX export
    y, x = torch.meshgrid(rows - rows[-1] / 2, columns - columns[-1] / 2, indexing="ij")
    centers = (torch.stack([x, y]) + offsets) * (weight / shorter_side)
    expanded = centers[:, :, None].expand(-1, -1, tags.shape[2], -1, -1)
    return torch.cat([tags, expanded], dim=1)
