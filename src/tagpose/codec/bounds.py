"""This file bounds what enlarged maps can hold in tiles, without enlarging them."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.codec.tiles import GROUP, INSIDE, SIDE, Maps

_MAPS: Final = {"cpu": 32}  # bounded at once: as many as stay in its caches
_ROUNDING: Final = 1e-5  # by which float32 may leave the hull of four neighbours, relative


class Bounds(NamedTuple):
    """Between what the enlarged maps lie in tiles.

    Tags [L] are projected to their sum over the square root of L. They are at least as far apart as
    their projections (Cauchy-Schwarz), and hardly farther, as all views see the same people.
    """

    ceiling: Tensor  # [...] heatmap, at most
    middle: Tensor  # [...] of the tags' range
    radius: Tensor  # [...] how far tags are from the middle, at most

    def some(self, at: Tensor) -> "Bounds":
        """Those at places [n] of the first axis."""
        return Bounds(*(each.index_select(0, at) for each in self))


def project(tags: Tensor) -> Tensor:
    """Of tags [L, ...] what tiles bound [...]."""
    return reduce(torch.add, tags).mul(len(tags) ** -0.5)  # of few, faster than their sum


def value_bounds(bounds: Bounds, owner: Tensor, *, doubt: float = 1.0) -> Tensor:
    """What score - round(|tag - owner|) does not exceed in tiles.

    Args:
        bounds: of the tiles [...].
        owner: projected, broadcasts with the tiles.
        doubt: share of the tags' range that counts; below 1 the result is an estimate, no bound.
    """
    # Slightly nearer, as a distance of a half must not be rounded up here and down at the pixel.
    distance = (bounds.middle - owner).abs_().mul_(1 - _ROUNDING)
    distance.sub_(bounds.radius, alpha=doubt).clamp_(min=0).round_()
    return torch.sub(bounds.ceiling, distance, out=distance)


def bounds_of(maps: Maps) -> tuple[Bounds, Bounds]:
    """The bounds of R large tiles of each map [M, R], and of the small ones inside [M * R, INSIDE].

    Both go row after row; the small ones of a large one lie side by side, as they are looked at
    together.
    """
    at_once = _MAPS.get(maps.tags.device.type, len(maps.heatmaps))
    parts = [
        _hulls(Maps(heatmaps, tags, maps.size))
        for heatmaps, tags in zip(
            torch.split(maps.heatmaps, at_once),
            torch.split(maps.tags, at_once, dim=1),
            strict=True,
        )
    ]
    ceiling, highest, lowest = (torch.cat(each) for each in zip(*parts, strict=True))
    higher = _joined(ceiling, torch.maximum), _joined(highest, torch.maximum)
    large = _between(*higher, _joined(lowest, torch.minimum))
    return large, _between(*map(_side_by_side, (ceiling, highest, lowest)))


def _hulls(maps: Maps) -> tuple[Tensor, Tensor, Tensor]:
    """Highest of the heatmap, highest and lowest of the tags in each small tile."""
    tags, highest, lowest = project(maps.tags), torch.maximum, torch.minimum
    (ceiling,) = _hull(maps.heatmaps, [highest], SIDE * maps.finer, maps.heat_ratio)
    most, least = _hull(tags, [highest, lowest], SIDE, maps.ratio)
    return ceiling, most, least


def _between(ceiling: Tensor, highest: Tensor, lowest: Tensor) -> Bounds:
    """Bounds of tiles whose tags lie between the lowest and the highest."""
    middle = torch.lerp(lowest, highest, 0.5)
    radius = (highest - lowest).div_(2).add_(middle.abs(), alpha=_ROUNDING)
    ceiling = torch.add(ceiling, ceiling.abs(), alpha=_ROUNDING)
    return Bounds(ceiling, middle, radius.mul_(1 + _ROUNDING))


def _hull(
    maps: Tensor, ways: Sequence[Callable[..., Tensor]], cells: int, ratio: int
) -> list[Tensor]:
    """What no pixel of a small tile exceeds, or falls below: [M, rows, columns] of tiles, each way.

    A pixel's row is a mixture of two rows of cells, and of the row outside of its tile it holds
    less than half; so the rows are settled first, then the columns.

    Args:
        maps: [M, h, w] of which tiles are made.
        ways: maximum or minimum, or both.
        cells: of the maps along a small tile.
        ratio: input pixels per cell.
    """
    share = (ratio - 1) / (2 * ratio)
    rows = torch.unflatten(_padded(maps, cells * GROUP), -2, (-1, cells)).unbind(-2)
    mixtures, hulls = _across(rows, -2, share), []
    for further in ways:
        settled = torch.unflatten(_furthest(rows, mixtures, -2, further), -1, (-1, cells))
        # numbers side by side are had faster
        columns = [each.contiguous() for each in settled.unbind(-1)]
        hulls.append(_furthest(columns, _across(columns, -1, share), -1, further))
    return hulls


def _across(lines: Sequence[Tensor], axis: int, share: float) -> tuple[Tensor, Tensor]:
    """The outermost mixtures of each tile's last line and the next one's first, seen from both."""
    length = lines[0].shape[axis] - 1
    own, beyond = lines[-1].narrow(axis, 0, length), lines[0].narrow(axis, 1, length)
    return torch.lerp(own, beyond, share), torch.lerp(beyond, own, share)


def _furthest(
    lines: Sequence[Tensor],
    mixtures: tuple[Tensor, Tensor],
    axis: int,
    further: Callable[..., Tensor],
) -> Tensor:
    """The largest or smallest of the lines of each tile, and of the mixtures across its ends."""
    most = reduce(further, lines)
    for start, mixture in enumerate(mixtures):
        part = most.narrow(axis, start, mixture.shape[axis])
        further(part, mixture, out=part)
    return most


def _joined(small: Tensor, further: Callable[..., Tensor]) -> Tensor:
    """Of small tiles [M, rows, columns] what is that of large ones [M, R]."""
    for axis in (-2, -1):
        small = reduce(further, torch.unflatten(small, axis, (-1, GROUP)).unbind(axis))
    return small.flatten(1)


def _side_by_side(small: Tensor) -> Tensor:
    """Small tiles [M, rows, columns], those of a large one side by side [M * R, INSIDE]."""
    wide = small.view(torch.complex128)  # of four float32, so that they move at once
    across = GROUP * small.element_size() // wide.element_size()
    many, rows, columns = wide.shape
    apart = wide.view(many, rows // GROUP, GROUP, columns // across, across)
    return apart.transpose(2, 3).reshape(-1, across).view(small.dtype).view(-1, INSIDE)


def _padded(maps: Tensor, cells: int) -> Tensor:
    """Maps [M, h, w] with sides that are multiples, as if the border repeated itself."""
    down, right = (-side % cells for side in maps.shape[1:])
    if not (down or right):
        return maps
    return functional.pad(maps[None], (0, right, 0, down), "replicate")[0]
