"""This file finds the peaks of heatmaps and reads places and tags off them."""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tagpose.codec.enlargement import enlarge, read_enlarged, window_max

_REACH: Final = 2  # input pixels; a peak is the largest value of 5 x 5 (Newell 2017's code)
_CHUNK: Final = 4  # heatmaps enlarged at once; the time is the same, the memory is not


class Peaks(NamedTuple):
    """The best local maxima of every heatmap of one image, by falling score."""

    x: Tensor  # [K, N] int64, input pixels
    y: Tensor  # [K, N] int64, input pixels
    scores: Tensor  # [K, N] float32: heatmap values, 0 where there are fewer than N
    tags: Tensor  # [K, N, L] float32


def find_peaks(heatmaps: Tensor, tags: Tensor, size: tuple[int, int], count: int) -> Peaks:
    """The best local maxima of the enlarged heatmaps, with the enlarged tags there.

    Args:
        heatmaps: [K, h, w] of one image.
        tags: [L, K, h, w] of the image.
        size: height, width of the network's input.
        count: N, how many a keypoint may have; fewer only where a map has fewer pixels.
    """
    found = [_best(enlarge(chunk, size), count) for chunk in torch.split(heatmaps, _CHUNK)]
    scores, places = (torch.cat(parts) for parts in zip(*found, strict=True))
    x, y = places % size[1], places // size[1]
    channel = torch.arange(len(heatmaps), device=heatmaps.device)[:, None]
    return Peaks(x, y, scores, read_enlarged(tags, channel, x, y, size).movedim(0, -1))


def _best(maps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Values and flat places [K, N] of the largest local maxima of maps [K, H, W]."""
    peaks = torch.where(window_max(maps, _REACH) == maps, maps, 0).flatten(1)
    best = peaks.topk(min(count, peaks.shape[1]))
    return best.values, best.indices


def read_places(
    heatmaps: Tensor, channel: Tensor, x: Tensor, y: Tensor, size: tuple[int, int]
) -> Tensor:
    """Places of peaks between the pixels: the middle, and a quarter toward the higher neighbour.

    Args:
        heatmaps: [K, h, w] of one image.
        channel: int64, whose peaks they are; broadcasts with `x` and `y`.
        x: int64, input pixels.
        y: int64, input pixels.
        size: height, width of the network's input.

    Returns:
        [..., 2] float32 x, y in input pixels.
    """
    height, width = size
    before = read_enlarged(heatmaps, channel, (x - 1).clamp(min=0), y, size)
    after = read_enlarged(heatmaps, channel, (x + 1).clamp(max=width - 1), y, size)
    above = read_enlarged(heatmaps, channel, x, (y - 1).clamp(min=0), size)
    below = read_enlarged(heatmaps, channel, x, (y + 1).clamp(max=height - 1), size)
    return torch.stack([_quarter(x, before, after), _quarter(y, above, below)], dim=-1)


def _quarter(at: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Pixel indexes, half a pixel and a quarter on; of equal neighbours the first wins."""
    return at + 0.5 + torch.where(after > before, 0.25, -0.25)


def adjust(people: np.ndarray, heatmaps: Tensor, size: tuple[int, int]) -> np.ndarray:
    """People whose keypoints lie between the pixels.

    Args:
        people: [P, K, 3] x, y (whole input pixels), score; a score of 0 is a missing keypoint.
        heatmaps: [K, h, w] of their image.
        size: height, width of the network's input.

    Returns:
        [P, K, 3] float32 x, y (input pixels), score; missing keypoints stay as they are.
    """
    x, y = torch.from_numpy(people[..., :2]).long().to(heatmaps.device).unbind(-1)
    channel = torch.arange(people.shape[1], device=heatmaps.device)
    places = read_places(heatmaps, channel, x, y, size).cpu().numpy()
    found = people[..., 2:] > 0
    return np.concatenate([np.where(found, places, people[..., :2]), people[..., 2:]], axis=-1)
