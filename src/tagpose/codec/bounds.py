"""This file bounds what enlarged maps can hold in tiles, without enlarging them."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.codec.enlargement import Window
from tagpose.codec.tiles import GROUP, INSIDE, SIDE, Maps

# Bounded at once: those of an image. Fewer would stay in the caches, but operations are split among
# cores in the middle, so that half of what one core wrote would next be read by another.
_MAPS: Final = {"cpu": 136}
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
    many, (rows, columns) = len(maps.heatmaps), maps.tiles
    large = maps.tags.new_empty(3, many, rows // GROUP, columns // GROUP)
    small = maps.tags.new_empty(3, many, rows // GROUP, columns // GROUP, INSIDE)
    at_once = _MAPS.get(maps.tags.device.type, many)
    for first in range(0, many, at_once):
        some = slice(first, first + at_once)
        highest = _highest(Maps(maps.heatmaps[some], maps.tags[:, some], maps.size))
        of_all = _joined(highest)
        slack = _ROUNDING * of_all.abs().amax((1, 2, 3))
        large[:, some] = _between(of_all, slack)
        _put_side_by_side(_between(highest, slack), small[:, some])
    return Bounds(*large.flatten(2)), Bounds(*small.flatten(1, 3))


def _highest(maps: Maps) -> Tensor:
    """What no pixel of a small tile exceeds, [3, M, rows, columns].

    Of the heatmap, the tags, and the tags with the opposite sign: so that the rest is alike.
    """
    largest, smallest = torch.maximum, torch.minimum
    highest = maps.tags.new_empty(3, len(maps.heatmaps), *maps.tiles)
    _hull(maps.heatmaps, [largest], maps, maps.heat_ratio, highest[:1])
    _hull(_summed(maps.tags), [largest, smallest], maps, maps.ratio, highest[1:])
    highest[1:].mul_(_share(maps.tags))
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


def _hull(
    values: Tensor,
    ways: Sequence[Callable[..., Tensor]],
    maps: Maps,
    ratio: int,
    hulls: Tensor,
) -> None:
    """Write what no pixel of a small tile exceeds; or falls below, with the opposite sign.

    Args:
        values: [M, h, w], with so many input pixels per cell.
        ways: maximum, and minimum where that is asked for, too.
        maps: whose tiles.
        ratio: of the values.
        hulls: [ways, M, rows, columns] of tiles, to write to.
    """
    cells = SIDE * maps.ratio // ratio
    between = Window(maps.first, maps.pixels, ratio).cells
    start = cells - cells // SIDE  # tiles stand at the last cell of the tags in a period
    reach = range(start + between.start, start + between.stop)
    rows = torch.unflatten(_padded(values, cells), -2, (-1, cells)).unbind(-2)
    settled = values.new_empty(*hulls.shape[:-1], rows[0].shape[-1])
    for further, own in zip(ways, settled, strict=True):
        _furthest(rows, -2, reach, further, own)
    settled[1:].neg_()
    # numbers side by side are had faster
    lines = [each.contiguous() for each in torch.unflatten(settled, -1, (-1, cells)).unbind(-1)]
    _furthest(lines, -1, reach, torch.maximum, hulls)


def _furthest(
    lines: Sequence[Tensor],
    axis: int,
    reach: range,
    further: Callable[..., Tensor],
    most: Tensor,
) -> None:
    """Write the largest or smallest of each tile's lines; what is beyond is as the last tile.

    Args:
        lines: of all tiles, by their place in the period of a tile.
        axis: along which tiles follow each other.
        reach: of a tile's lines, counted from where the period before its own begins.
        further: maximum or minimum.
        most: to write to.
    """
    periods, tiles = lines[0].shape[axis], most.shape[axis]
    own, others = most.narrow(axis, 0, periods), most.narrow(axis, 1, periods - 1)
    first, second, *more = lines[: reach.stop - len(lines)]
    further(first, second, out=own)
    for line in more:
        further(own, line, out=own)
    before = reduce(further, lines[reach.start :])
    further(others, before.narrow(axis, 0, periods - 1), out=others)
    most.narrow(axis, periods, tiles - periods).copy_(before.narrow(axis, periods - 1, 1))


def _put_side_by_side(small: Tensor, inside: Tensor) -> None:
    """Write small tiles [..., rows, columns] to [..., large rows, large columns, INSIDE]."""
    wide = small.view(torch.complex128)  # of four float32, so that they move at once
    columns = inside.shape[-2]
    apart = wide.unflatten(-2, (-1, GROUP)).unflatten(-1, (columns, -1)).transpose(-3, -2)
    inside.view(wide.dtype).unflatten(-1, (GROUP, -1)).copy_(apart)


def _padded(maps: Tensor, cells: int) -> Tensor:
    """Maps [..., h, w] with sides that are multiples, as if the border repeated itself."""
    down, right = (-side % cells for side in maps.shape[-2:])
    if not (down or right):
        return maps
    flat = functional.pad(maps.flatten(0, -3)[None], (0, right, 0, down), "replicate")[0]
    return flat.unflatten(0, maps.shape[:-2])
