"""This file draws what the network should predict, on the device where it predicts."""

from typing import Final

import torch
from torch import Tensor

from tagpose.structures import STRIDE, Targets

SIGMA: Final = 2.0  # cells; HigherHRNet (Cheng 2020) for maps at stride 4


def encode(keypoints: Tensor, mask: Tensor, sigma: float = SIGMA) -> Targets:
    """Targets of a batch: a Gaussian at the cell of each labelled keypoint that is inside the map.

    Args:
        keypoints: [B, P, K, 3] x, y in input pixels, v > 0 where labelled; absent people are 0.
        mask: [B, h, w] 1 where the heatmap loss counts.
        sigma: of the Gaussians, in cells.
    """
    height, width = mask.shape[-2:]
    # the integer part, so that a keypoint up to one cell left of the map still counts, as classic
    cells = (keypoints[..., :2] / STRIDE).trunc().long()  # [B, P, K, 2]
    x, y = cells.unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    visible = inside & (keypoints[..., 2] > 0)
    return Targets(
        heatmaps=_draw(x, y, visible, (height, width), sigma),
        mask=mask.float(),
        cells=torch.where(visible, y * width + x, 0),
        visible=visible,
    )


def _draw(x: Tensor, y: Tensor, visible: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Heatmaps [B, K, h, w]; where people overlap, the maximum.

    Every centre is a whole cell, so one stamp serves all: it is written around each centre of a
    map with a margin of the stamp's radius, and the margin is cut off.
    """
    stamp, radius = _stamp(sigma, x.device)
    rows, columns = size[0] + 2 * radius, size[1] + 2 * radius
    images, _, kinds = visible.shape
    own = torch.arange(images * kinds, device=x.device).view(images, 1, kinds) * (rows * columns)
    corner = torch.where(visible, own + y * columns + x, own)  # [B, P, K]
    if x.is_cuda:  # counting those who are visible would make it wait for the CPU
        values = stamp * visible.flatten()[:, None, None]
        corner = corner.flatten()
    else:
        corner = corner[visible]
        values = stamp.expand(len(corner), -1, -1)
    span = torch.arange(2 * radius + 1, device=x.device)
    around = span[:, None] * columns + span  # [s, s]
    places = (corner[:, None, None] + around).flatten()
    maps = torch.zeros(images * kinds * rows * columns, device=x.device)
    maps.scatter_reduce_(0, places, values.flatten(), "amax")
    maps = maps.view(images, kinds, rows, columns)
    return maps[..., radius : rows - radius, radius : columns - radius]


def _stamp(sigma: float, device: torch.device) -> tuple[Tensor, int]:
    """A Gaussian [s, s] with 1 in its middle, and its radius in cells: 7 for sigma 2."""
    radius = int(3 * sigma) + 1
    offset = torch.arange(-radius, radius + 1, device=device, dtype=torch.float32).square()
    return (-(offset[:, None] + offset) / (2 * sigma**2)).exp(), radius
