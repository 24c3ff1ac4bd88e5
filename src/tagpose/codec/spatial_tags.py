"""Spatial tags: the predicted centers of people, as two further tags of every keypoint.

The network predicts the offset to the center of the person at every position, as in spatial
embeddings (Neven 2019), DEKR (Geng 2021) and CID (Wang 2022), so that two people who are apart
differ even if their learned tags are similar.
"""

import torch
from torch import Tensor


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
