"""This file finds the local maxima of enlarged heatmaps, without enlarging them."""

from functools import reduce
from math import gcd
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.codec.enlargement import AT_ONCE, Window, read_windows

_REACH: Final = 2  # input pixels; a peak is the largest value of 5 x 5 (Newell 2017's code)
_MANY_MAPS: Final = 1024  # looked through at once on another device: 7 images of 133, 100 MB
# Rows and columns that are looked through or left out together: about as many as a keypoint has.
_BLOCK: Final = (8, 16)
_CELLS: Final = 1 << 14  # whose pixels are looked at at once, which bounds the memory
_ROUNDING: Final = 1e-6  # of float32, relative; what is looked into is never less than it should be


class Maxima(NamedTuple):
    """Local maxima in the order of maps."""

    which: Tensor  # [n] int64, of which map
    x: Tensor  # [n] int64, input pixels
    y: Tensor  # [n] int64, input pixels
    scores: Tensor  # [n]


def local_maxima(maps: Tensor, size: tuple[int, int], min_score: float) -> Maxima:
    """All local maxima of maps [M, h, w] above a score; a cell is four pixels wide at the most."""
    ratio = size[0] // maps.shape[-2]
    nearest = 1 / (2 * ratio) if ratio % 2 == 0 else 0.0
    step = AT_ONCE.get(maps.device.type, _MANY_MAPS)
    cells = [_promising(some, min_score, nearest) for some in torch.split(maps, step)]
    which = torch.cat([each[0] + step * part for part, each in enumerate(cells)])
    row, column = (torch.cat([each[axis] for each in cells]) for axis in (1, 2))
    at_once = zip(*(torch.split(each, _CELLS) for each in (which, row, column)), strict=True)
    parts = [_inside(maps, some, ratio, min_score) for some in at_once]
    return Maxima(*map(torch.cat, zip(*parts, strict=True)))


def _promising(maps: Tensor, min_score: float, nearest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cells among whose pixels a peak may be: of which map, row, column, [n] each.

    Where a pixel is the largest around, then also that pixel of its cell which is nearest to the
    middle, in its quadrant; and of that one, the two beside it in its row are not larger, nor are
    those above and below. Of a bilinear surface this says how its cell and the eight around it,
    mixed by `nearest`, compare.

    Args:
        maps: [M, h, w].
        min_score: what a peak must be above.
        nearest: distance from a cell's middle to the pixel nearest to it, in cells.
    """
    # From these comparisons and the pixel's own value follows that a peak of the score s stands in
    # a cell of at least (1 - share) s + share depth, where no cell is below the depth.
    share = (nearest / (1 - nearest)) ** 2 + _ROUNDING
    (height, width), many = maps.shape[1:], len(maps)
    depth = maps.amin(dim=(1, 2)).clamp(max=0)
    least = (min_score * (1 - share) + share * depth)[:, None, None]
    rows, columns = gcd(height, _BLOCK[0]), gcd(width, _BLOCK[1])
    highest = maps.view(many, -1, rows, width).amax(2).view(many, -1, width // columns, columns)
    which, down, across = (highest.amax(-1) > least).nonzero(as_tuple=True)
    around = _with_neighbours(maps, rows, columns, (which, down, across))
    at = _places(_highest_around(around, least[which], nearest))
    block, row, column = at // (rows * columns), at // columns % rows, at % columns
    return which[block], down[block] * rows + row, across[block] * columns + column


def _with_neighbours(maps: Tensor, rows: int, columns: int, at: tuple[Tensor, ...]) -> Tensor:
    """Blocks [n, rows + 2, columns + 2] of maps, with one cell more on every side."""
    around = functional.pad(maps[None], (1, 1, 1, 1), "replicate")[0]
    return around.unfold(1, rows + 2, rows).unfold(2, columns + 2, columns)[at]


def _highest_around(around: Tensor, least: Tensor, nearest: float) -> Tensor:
    """Whether cells may have a peak by those around them and by their own height, [M, h, w].

    Args:
        around: [M, h + 2, w + 2], with one cell more on every side.
        least: [M, 1, 1], what cells must be above.
        nearest: as for `_promising`.
    """
    own, rise = around[:, 1:-1, 1:-1], _rise(around, nearest)
    torch.minimum(rise, _rise(around.mT, nearest).mT, out=rise).add_(own.abs(), alpha=_ROUNDING)
    return torch.minimum(rise, own - least, out=rise) > 0


def _rise(around: Tensor, nearest: float) -> Tensor:
    """How far cells [M, h, w] are above those left and right, mixed with the row above or below.

    Args:
        around: [M, h + 2, w + 2], with one cell more on every side.
        nearest: how much of the other row is in the mixture, of which the better one counts.
    """
    rows, rises = around[:, 1:-1], []
    for beside in (around[:, :-2], around[:, 2:]):
        mixed = torch.lerp(rows, beside, nearest)
        sides = torch.maximum(mixed[..., :-2], mixed[..., 2:])
        rises.append(torch.sub(mixed[..., 1:-1], sides, out=sides))
    return torch.maximum(*rises, out=rises[0])


def _places(flags: Tensor) -> Tensor:
    """Flat places [n] of those few that are set; eight at once are looked over as one number."""
    flat = flags.flatten()
    eights = functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)
    some = eights.view(torch.int64)[:, 0].nonzero()[:, 0]
    number, at = eights[some].nonzero(as_tuple=True)
    return some[number] * 8 + at


def _inside(maps: Tensor, cells: tuple[Tensor, ...], ratio: int, min_score: float) -> Maxima:
    """The pixels of cells that are the largest around, above a score."""
    which, row, column = cells
    window = read_windows(maps, which, row, column, Window(-_REACH, ratio + 2 * _REACH, ratio))
    highest = window  # [ratio + 4, ratio + 4, n], then [ratio, ratio, n]
    for axis in (0, 1):
        shifted = (highest.narrow(axis, step, ratio) for step in range(1 + 2 * _REACH))
        highest = reduce(torch.maximum, shifted)
    own = window[_REACH:-_REACH, _REACH:-_REACH]
    peaks = ((own == highest) & (own > min_score)).movedim(-1, 0)
    cell, down, across = peaks.nonzero(as_tuple=True)
    x, y = column[cell] * ratio + across, row[cell] * ratio + down
    return Maxima(which[cell], x, y, own[down, across, cell])
