"""This file enlarges maps to input pixels, as a whole or only where somebody looks."""

import torch
from torch import Tensor
from torch.nn import functional


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps at the size of the network's input, bilinear, corners not aligned.

    Args:
        maps: [..., h, w], at least one leading axis.
        size: height, width in input pixels.

    Returns:
        [..., H, W]; the very maps if they have that size already.
    """
    if maps.shape[-2:] == size:
        return maps
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    larger = functional.interpolate(flat, size, mode="bilinear", align_corners=False)
    return larger.view(*maps.shape[:-2], *size)


def read_enlarged(
    maps: Tensor, channel: Tensor, x: Tensor, y: Tensor, size: tuple[int, int]
) -> Tensor:
    """What `enlarge` would hold at single places, without enlarging.

    Args:
        maps: [..., C, h, w].
        channel: int64, which of the C maps; `channel`, `x` and `y` broadcast to one shape.
        x: int64, input pixels inside the input.
        y: int64, input pixels inside the input.
        size: height, width in input pixels.

    Returns:
        [..., *the broadcast shape].
    """
    top, bottom, down = _between(y, maps.shape[-2], size[0])
    left, right, across = _between(x, maps.shape[-1], size[1])
    upper = (1 - across) * maps[..., channel, top, left] + across * maps[..., channel, top, right]
    lower = maps[..., channel, bottom, left], maps[..., channel, bottom, right]
    return (1 - down) * upper + down * ((1 - across) * lower[0] + across * lower[1])


def _between(at: Tensor, cells: int, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells that a pixel lies between, and how far it is from the first to the second."""
    source = ((at + 0.5) * (cells / pixels) - 0.5).clamp(min=0).to(torch.float32)
    first = source.long().clamp(max=cells - 1)
    return first, (first + 1).clamp(max=cells - 1), source - first


def window_max(maps: Tensor, reach: int) -> Tensor:
    """The largest value around every pixel, as max pooling with stride 1, but several times faster.

    Args:
        maps: [..., H, W].
        reach: pixels to each side that count.

    Returns:
        [..., H, W].
    """
    return _line_max(_line_max(maps, -1, reach), -2, reach)


def _line_max(maps: Tensor, axis: int, reach: int) -> Tensor:
    """The largest value up to `reach` before and after every pixel of an axis."""
    largest, length = maps.clone(), maps.shape[axis]
    for step in range(1, min(reach, length - 1) + 1):
        early, late = (largest.narrow(axis, start, length - step) for start in (0, step))
        torch.maximum(early, maps.narrow(axis, step, length - step), out=early)
        torch.maximum(late, maps.narrow(axis, 0, length - step), out=late)
    return largest
