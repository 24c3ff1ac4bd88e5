"""Drawing of Gaussians into heatmaps, on the device of the targets."""

from typing import NamedTuple

import torch
from torch import Tensor


class Gaussians(NamedTuple):
    """N Gaussians, each in the heatmap of one keypoint and image."""

    map_index: Tensor  # [N] int64: index of the heatmap
    x: Tensor  # [N] int64: column of the heatmap pixel
    y: Tensor  # [N] int64: row of the heatmap pixel
    offset: Tensor | None  # [N, 2] x, y from the center of that pixel in heatmap pixels; None for 0
    sigma: Tensor | None  # [N] heatmap pixels; None if all are equal
    amplitude: Tensor  # [N]: value at the center, 0 for Gaussians that are not drawn


def draw_gaussians(
    gaussians: Gaussians, maps: int, map_size: tuple[int, int], sigma: float
) -> Tensor:
    """Draw Gaussians into heatmaps; where they overlap, the maximum counts.

    Args:
        gaussians: the Gaussians to draw.
        maps: number of heatmaps, M.
        map_size: height, width of the heatmaps.
        sigma: the largest sigma in heatmap pixels, which determines the size of the windows.

    Returns:
        Heatmaps [M, h, w].
    """
    radius = int(3 * sigma) + 1  # 7 for a sigma of 2, as in MMPose
    # a margin of the window's radius around each heatmap, cut off at the end
    rows, columns = map_size[0] + 2 * radius, map_size[1] + 2 * radius
    corner = (gaussians.map_index * rows + gaussians.y) * columns + gaussians.x
    span = torch.arange(2 * radius + 1, device=corner.device)
    pixels = corner[:, None, None] + span[:, None] * columns + span  # [N, s, s]
    values = _compute_windows(gaussians, radius, sigma) * gaussians.amplitude[:, None, None]
    heatmaps = torch.zeros(maps * rows * columns, device=corner.device)
    heatmaps.scatter_reduce_(0, pixels.flatten(), values.flatten(), "amax")
    heatmaps = heatmaps.view(maps, rows, columns)
    return heatmaps[:, radius : rows - radius, radius : columns - radius]


def _compute_windows(gaussians: Gaussians, radius: int, sigma: float) -> Tensor:
    """Return windows [N, s, s] around the heatmap pixels, or one [1, s, s] if all are equal."""
    span = torch.arange(-radius, radius + 1, device=gaussians.x.device, dtype=torch.float32)
    if gaussians.offset is None and gaussians.sigma is None:
        return (-(span.square()[:, None] + span.square()) / (2 * sigma**2)).exp()[None]
    offset = torch.zeros_like(span[:1]) if gaussians.offset is None else gaussians.offset
    spread = span.new_tensor(sigma) if gaussians.sigma is None else gaussians.sigma[:, None, None]
    exponents = (span - offset[..., None]).square() / (2 * spread.square())  # [N, 2, s] x, y
    across, down = (-exponents).exp().expand(len(gaussians.x), 2, -1).unbind(1)
    return down[:, :, None] * across[:, None]
