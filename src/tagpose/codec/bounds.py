"""This file bounds what enlarged maps can hold in tiles, without enlarging them."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.codec.enlargement import AT_ONCE, Window
from tagpose.codec.tiles import GROUP, SIDE, Maps

# By which float32 may leave the hull of four neighbours, relative to the largest of a map's.
_ROUNDING: Final = 1e-5


class Bounds(NamedTuple):
    """Between what the enlarged maps lie in tiles.

    Tags [L] are projected to their sum over the square root of L. They are at least as far apart as
    their projections (Cauchy-Schwarz), and hardly farther, as all views see the same people.
    """

    ceiling: Tensor  # [...] heatmap, at most
    twice_middle: Tensor  # [...] of the tags' range: highest and lowest added
    spread: Tensor  # [...] highest less lowest tag: twice how far from the middle at most

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
    distance = (bounds.twice_middle - 2 * owner).abs_().mul_((1 - _ROUNDING) / 2)
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
    """The bounds [M, R] and [M * R, INSIDE] of as many maps as are bounded at once."""
    hulls = _hulls(maps)
    joined = _joined(hulls)
    slack = _ROUNDING * joined.abs().amax((2, 3), keepdim=True)
    large, small = _bounded(joined, slack), _bounded(hulls, slack)
    return Bounds(*large.flatten(2)), Bounds(*_side_by_side(small).flatten(1, 2))


def _hulls(maps: Maps) -> Tensor:
    """What no pixel of a small tile exceeds, [3, M, rows, columns].

    Of the heatmap, the tags, and the tags with the opposite sign: so that the rest is alike.
    """
    hulls = maps.tags.new_empty(3, len(maps.heatmaps), *maps.tiles)
    _put_hulls(maps.heatmaps, maps.heat_window, torch.maximum, hulls[0])
    some = -(-len(maps.heatmaps) // 2)  # of half at once the sums take half the memory
    parts = torch.split(maps.tags, some, 1), torch.split(hulls[1:], some, 1)
    for tags, of_tags in zip(*parts, strict=True):
        summed = _summed(tags)
        _put_hulls(summed, maps.tag_window, torch.maximum, of_tags[0])
        _put_hulls(summed, maps.tag_window, torch.minimum, of_tags[1])
    hulls[1].mul_(_share(maps.tags))
    hulls[2].mul_(-_share(maps.tags))
    return hulls


def _joined(small: Tensor) -> Tensor:
    """Of small tiles [..., rows, columns] what is that of large ones."""
    for axis in (-2, -1):
        small = reduce(torch.maximum, torch.unflatten(small, axis, (-1, GROUP)).unbind(axis))
    return small


def _bounded(hulls: Tensor, slack: Tensor) -> Tensor:
    """What `Bounds` has of tiles [3, M, ...], in the place of what `_hulls` has of them.

    Args:
        hulls: are written over.
        slack: [3, M, ...] by which rounding may leave them.
    """
    ceiling, most, opposite = hulls
    ceiling.add_(slack[0])
    twice_middle = most.sub_(opposite)
    torch.add(twice_middle, opposite, alpha=2, out=opposite).add_(slack[1] + slack[2])
    return hulls


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
    rows = _lines(_padded(values, window.across), window, -2)
    settled = values.new_empty(*hulls.shape[:-1], rows[0].shape[-1])
    _put_furthest(rows, -2, window, further, settled)
    # numbers side by side are had faster
    columns = [each.contiguous() for each in _lines(settled, window, -1)]
    _put_furthest(columns, -1, window, further, hulls)


def _lines(values: Tensor, window: Window, axis: int) -> Sequence[Tensor]:
    """Every first line of cells along an axis, every second one, and so on.

    They come again after a period, which is as long as a tile. A tile stands at the last cell of
    the tags in the period before its own: with two lines it has that line of the period before, and
    both of its own.
    """
    return torch.unflatten(values, axis, (-1, window.across)).unbind(axis)


def _put_furthest(
    lines: Sequence[Tensor],
    axis: int,
    window: Window,
    further: Callable[..., Tensor],
    most: Tensor,
) -> None:
    """Write the largest or smallest of each tile's lines; what is beyond is as the last.

    Args:
        lines: see `_lines`.
        axis: along which tiles follow each other.
        window: the pixels of a tile.
        further: maximum or minimum.
        most: to write to.
    """
    start = window.across - window.across // SIDE  # where tiles stand in the period before
    first, second, *more = lines[: start + window.offsets.stop - window.across]
    before = reduce(further, lines[start + window.offsets.start :])
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
