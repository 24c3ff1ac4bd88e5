"""This file bounds what enlarged maps can hold in tiles, without enlarging them."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.codec.enlargement import Window
from tagpose.codec.tiles import AT_ONCE, GROUP, SIDE, Maps

_ROUNDING: Final = 1e-5  # by which float32 may leave the hull of four neighbours, relative


class Bounds(NamedTuple):
    """Between what the enlarged maps lie in tiles.

    Tags [L] are projected to their sum over the square root of L. They are at least as far apart as
    their projections (Cauchy-Schwarz), and hardly farther, as all views see the same people.
    """

    ceiling: Tensor  # [...] heatmap, at most
    sides: Tensor  # [...] highest and lowest tag added: twice the middle of their range
    spread: Tensor  # [...] highest less lowest tag: twice how far tags are from the middle at most

    def some(self, at: Tensor) -> "Bounds":
        """Those at places [n] of the first axis."""
        return Bounds(*(each.index_select(0, at) for each in self))


def project(tags: Tensor) -> Tensor:
    """Of tags [L, ...] what tiles bound [...]."""
    return _summed(tags) * _share(tags)


def _summed(tags: Tensor) -> Tensor:
    return reduce(torch.add, tags)  # of few, faster than their sum


def _share(tags: Tensor) -> float:
    """By which their sum is multiplied, for tiles once they are bounded."""
    return float(len(tags) ** -0.5)


def value_bounds(bounds: Bounds, owner: Tensor, *, doubt: float = 1.0) -> Tensor:
    """What score - round(|tag - owner|) does not exceed in tiles.

    Args:
        bounds: of the tiles [...].
        owner: projected, broadcasts with the tiles.
        doubt: share of the tags' range that counts; below 1 the result is an estimate, no bound.
    """
    # Slightly nearer, as a distance of a half must not be rounded up here and down at the pixel.
    distance = (bounds.sides - 2 * owner).abs_().mul_((1 - _ROUNDING) / 2)
    distance.sub_(bounds.spread, alpha=doubt / 2).clamp_(min=0).round_()
    return torch.sub(bounds.ceiling, distance, out=distance)


def bounds_of(maps: Maps) -> tuple[Bounds, Bounds]:
    """The bounds of R large tiles of each map [M, R], and of the small ones inside [M * R, INSIDE].

    Both go row after row; the small ones of a large one lie side by side, as they are looked at
    together.
    """
    at_once = AT_ONCE.get(maps.tags.device.type, len(maps.heatmaps))
    parts = [
        _large_and_small(Maps(heatmaps, tags, maps.size))
        for heatmaps, tags in zip(
            torch.split(maps.heatmaps, at_once),
            torch.split(maps.tags, at_once, dim=1),
            strict=True,
        )
    ]
    if len(parts) == 1:  # which need no copy
        return parts[0]
    large, small = (
        Bounds(*map(torch.cat, zip(*each, strict=True))) for each in zip(*parts, strict=True)
    )
    return large, small


def _large_and_small(maps: Maps) -> tuple[Bounds, Bounds]:
    """The same of as many maps as are bounded at once."""
    highest = _highest(maps)
    joined = _joined(highest)
    slack = _ROUNDING * joined.abs().amax((1, 2, 3))
    large = _between(joined, slack).flatten(2)
    return Bounds(*large), Bounds(*_side_by_side(_between(highest, slack)).flatten(1, 2))


def _highest(maps: Maps) -> Tensor:
    """What no pixel of a small tile exceeds, [3, M, rows, columns].

    Of the heatmap, the tags, and the tags with the opposite sign: so that the rest is alike.
    """
    highest = maps.tags.new_empty(3, len(maps.heatmaps), *maps.tiles)
    heat, tag = (Window(maps.first, maps.pixels, each) for each in (maps.heat_ratio, maps.ratio))
    _put_hulls(maps.heatmaps, heat, torch.maximum, highest[0])
    tags = _summed(maps.tags)
    _put_hulls(tags, tag, torch.maximum, highest[1])
    _put_hulls(tags, tag, torch.minimum, highest[2])
    highest[1].mul_(_share(maps.tags))
    highest[2].mul_(-_share(maps.tags))
    return highest


def _joined(small: Tensor) -> Tensor:
    """Of small tiles [..., rows, columns] what is that of large ones."""
    for axis in (-2, -1):
        small = reduce(torch.maximum, torch.unflatten(small, axis, (-1, GROUP)).unbind(axis))
    return small


def _between(highest: Tensor, slack: Tensor) -> Tensor:
    """What `Bounds` has of tiles [3, ...], of what `_highest` has of them.

    Args:
        highest: is written over.
        slack: [3] by which rounding may leave the hulls.
    """
    ceiling, most, opposite = highest
    ceiling.add_(slack[0])
    sides = most.sub_(opposite)
    torch.add(sides, opposite, alpha=2, out=opposite).add_(slack[1] + slack[2])
    return highest


def _put_hulls(
    values: Tensor, window: Window, further: Callable[..., Tensor], hulls: Tensor
) -> None:
    """Write what no pixel of a tile exceeds, or falls below.

    Args:
        values: [M, h, w].
        window: the pixels of a tile.
        further: maximum or minimum.
        hulls: [M, rows, columns] of tiles.
    """
    rows = _lines(_padded(values, window.pixels // window.ratio), window, -2)
    settled = values.new_empty(*hulls.shape[:-1], rows[0].shape[-1])
    _put_furthest(rows, -2, window, further, settled)
    # numbers side by side are had faster
    columns = [each.contiguous() for each in _lines(settled, window, -1)]
    _put_furthest(columns, -1, window, further, hulls)


def _lines(values: Tensor, window: Window, axis: int) -> Sequence[Tensor]:
    """Every first line of cells of the tiles along an axis, every second one, and so on."""
    cells = window.pixels // window.ratio
    return torch.unflatten(values, axis, (-1, cells)).unbind(axis)


def _put_furthest(
    lines: Sequence[Tensor],
    axis: int,
    window: Window,
    further: Callable[..., Tensor],
    most: Tensor,
) -> None:
    """Write the largest or smallest of each tile's lines; what is beyond is as the last.

    Args:
        lines: see `_lines`; a tile begins with the last ones of the tile before.
        axis: along which tiles follow each other.
        window: the pixels of a tile.
        further: maximum or minimum.
        most: to write to.
    """
    cells = len(lines)
    start = cells - cells // SIDE  # where tiles stand: at the last cell of the tags
    first, second, *more = lines[: start + window.cells.stop - cells]
    before = reduce(further, lines[start + window.cells.start :])
    periods, tiles = lines[0].shape[axis], most.shape[axis]
    own, others = most.narrow(axis, 0, periods), most.narrow(axis, 1, periods - 1)
    further(first, second, out=own)
    for line in more:
        further(own, line, out=own)
    further(others, before.narrow(axis, 0, periods - 1), out=others)
    most.narrow(axis, periods, tiles - periods).copy_(before.narrow(axis, periods - 1, 1))


def _side_by_side(small: Tensor) -> Tensor:
    """Small tiles [..., rows, columns], those of a large one side by side [..., R, INSIDE]."""
    wide = small.view(torch.complex128)  # of four float32, so that they move at once
    columns = small.shape[-1] // GROUP
    rows = torch.unflatten(wide, -2, (-1, GROUP))
    apart = torch.unflatten(rows, -1, (columns, -1)).transpose(-3, -2)
    return apart.contiguous().view(small.dtype).flatten(-2).flatten(-3, -2)


def _padded(maps: Tensor, cells: int) -> Tensor:
    """Maps [M, h, w] with sides that are multiples, as if the border repeated itself."""
    down, right = (-side % cells for side in maps.shape[1:])
    if not (down or right):
        return maps
    return functional.pad(maps[None], (0, right, 0, down), "replicate")[0]
