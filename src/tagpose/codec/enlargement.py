"""This file enlarges maps to input pixels, as a whole or only where somebody looks."""

from functools import lru_cache
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Maps that are gone through at once: about as many as an image of a whole body has. Of fewer a CPU
# keeps more in its caches, but its cores meet at the end of each operation, which takes longer than
# that saves where they share no cache.
AT_ONCE: Final = {"cpu": 136}


class Window(NamedTuple):
    """A square of input pixels that stands at a cell."""

    first: int  # where it begins, in input pixels after the first pixel of that cell
    pixels: int  # along it
    ratio: int  # input pixels per cell

    @property
    def doubled(self) -> list[int]:
        """Its pixels, measured from the middle of that cell in half pixels: in whole numbers."""
        return [2 * at + 1 - self.ratio for at in range(self.first, self.first + self.pixels)]

    @property
    def lows(self) -> list[int]:
        """The first of the two cells that each pixel lies between, from the one it stands at."""
        return [at // (2 * self.ratio) for at in self.doubled]

    @property
    def across(self) -> int:
        """Cells that are as long as it."""
        return self.pixels // self.ratio

    @property
    def offsets(self) -> range:
        """All cells that its pixels lie between, from the one that it stands at."""
        return range(self.lows[0], self.lows[-1] + 2)


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
    height, width = maps.shape[-2:]
    top, bottom, down = _between(y, height, size[0])
    left, right, across = _between(x, width, size[1])
    flat = maps.flatten(-3)

    def mixed(row: Tensor) -> Tensor:
        first = (channel * height + row) * width
        low, high = (_taken(flat, first + column) for column in (left, right))
        return (1 - across) * low + across * high

    return (1 - down) * mixed(top) + down * mixed(bottom)


def _taken(values: Tensor, at: Tensor) -> Tensor:
    """Values [..., *] at places of the last axis, of any shape."""
    taken = values.index_select(-1, at.flatten())  # faster than indexing, and than take
    return taken.view(*values.shape[:-1], *at.shape)


def read_windows(
    maps: Tensor, which: Tensor, row: Tensor, column: Tensor, window: Window
) -> Tensor:
    """Squares of what `enlarge` would hold, without enlarging.

    Equal cells give equal pixels, and a mirrored map the mirrored pixels, to the last digit, so
    that ties are told as ties.

    Args:
        maps: [M, h, w].
        which: [..., N] int64, of which map.
        row: [..., N] int64, a cell; it may be outside, as if the border repeated itself.
        column: [..., N] int64, likewise.
        window: the squares.

    Returns:
        [..., pixels, pixels, N]; the long axis is the last, along which processors go fast.
    """
    return mix_cells(read_cells(maps, which, row, column, window), window)


def mix_cells(cells: Tensor, window: Window) -> Tensor:
    """The pixels of windows [..., pixels, pixels, N], of what `read_cells` has of them."""
    _, runs, share = _pattern(window, cells.device, cells.dtype)
    return _mixed(_mixed(cells, runs, share, axis=-3), runs, share, axis=-2)


class _Pattern(NamedTuple):
    """How the pixels of a window are mixed of its cells, along either axis."""

    offset: Tensor  # [n] int64, the cells, from the one that the window stands at
    runs: list[int]  # [n - 1] pixels between each two of them
    share: Tensor  # [pixels] how far from the first to the second


@lru_cache(maxsize=64)  # windows are read many times for one pattern
def _pattern(window: Window, device: torch.device, dtype: torch.dtype) -> _Pattern:
    """The pattern of a window."""
    lows = window.lows
    # in whole numbers, so that a share of 0 is exactly 0
    shares = [at - 2 * window.ratio * low for at, low in zip(window.doubled, lows, strict=True)]
    share = torch.tensor(shares, dtype=dtype, device=device) / (2 * window.ratio)
    offset = torch.tensor(window.offsets, device=device)
    return _Pattern(offset, [lows.count(low) for low in dict.fromkeys(lows)], share)


def _mixed(cells: Tensor, runs: list[int], share: Tensor, *, axis: int) -> Tensor:
    """Pixels along an axis [..., pixels, ...] that is counted from the last, run after run."""
    shape = list(cells.shape)
    shape[axis] = len(share)
    mixed, start = cells.new_empty(shape), 0
    weight = share.view(-1, *[1] * (-1 - axis))
    for cell, length in enumerate(runs):
        torch.lerp(
            cells.narrow(axis, cell, 1),
            cells.narrow(axis, cell + 1, 1),
            weight[start : start + length],
            out=mixed.narrow(axis, start, length),
        )
        start += length
    return mixed


def read_cells(maps: Tensor, which: Tensor, row: Tensor, column: Tensor, window: Window) -> Tensor:
    """The cells between which the pixels of windows lie, outside as if the border repeated itself.

    Args:
        maps: [M, h, w].
        which: [..., N] int64, of which map.
        row: [..., N] int64, a cell; the three broadcast.
        column: [..., N] int64.
        window: that stands at that cell, along rows and columns alike.

    Returns:
        [..., n, n, N]
    """
    height, width = maps.shape[-2:]
    offset = _pattern(window, maps.device, maps.dtype).offset
    rows = (row[..., None, :] + offset[:, None]).clamp_(0, height - 1).mul_(width)
    rows = rows + which[..., None, :] * (height * width)
    columns = (column[..., None, :] + offset[:, None]).clamp_(0, width - 1)
    return _taken(maps.reshape(-1), rows[..., None, :] + columns[..., None, :, :])


def _between(at: Tensor, cells: int, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells that a pixel lies between, and how far it is from the first to the second."""
    source = ((at + 0.5) * (cells / pixels) - 0.5).clamp(min=0).to(torch.float32)
    first = source.long().clamp(max=cells - 1)
    return first, (first + 1).clamp(max=cells - 1), source - first
