"""This file finds the peaks of heatmaps and reads places and tags off them."""

from functools import reduce
from math import gcd
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tagpose.codec.enlargement import read_enlarged, read_windows
from tagpose.structures import Fields

_REACH: Final = 2  # input pixels; a peak is the largest value of 5 x 5 (Newell 2017's code)
_MAPS: Final = {"cpu": 24}  # looked through at once: as many as stay in its caches
_MANY_MAPS: Final = 1024
_BAND: Final = 8  # rows that are looked through or left out together
_CELLS: Final = 1 << 14  # whose pixels are looked at at once, which bounds the memory
_TOPK_BY_HEAP: Final = 64  # values per wanted one from which on it keeps a heap (TopKImpl.h)
_ROUNDING: Final = 1e-6  # of float32, relative; what is looked into is never less than it should be


class Peaks(NamedTuple):
    """The best local maxima of every heatmap of a batch, by falling score."""

    x: Tensor  # [B, K, N] int64, input pixels
    y: Tensor  # [B, K, N] int64, input pixels
    scores: Tensor  # [B, K, N] float32: heatmap values, 0 where there are fewer than N
    tags: Tensor  # [B, K, N, L] float32


class _Found(NamedTuple):
    """Local maxima in the order of maps, rows of cells, cells."""

    which: Tensor  # [n] int64, of which map
    x: Tensor  # [n] int64, input pixels
    y: Tensor  # [n] int64, input pixels
    scores: Tensor  # [n]


def find_peaks(fields: Fields, size: tuple[int, int], count: int, min_score: float) -> Peaks:
    """The best local maxima of the enlarged heatmaps, with the enlarged tags there.

    Nothing is enlarged: a pixel lies between four cells, so that a cell whose neighbours rise on
    from it has no peak among its pixels, and only the pixels of the others are looked at.

    Args:
        fields: of a batch.
        size: height, width of the network's input.
        count: N, how many a keypoint may have.
        min_score: what a peak must be above.
    """
    maps = fields.heatmaps.flatten(0, 1)
    x, y, scores = _best(maps, size, count, min_score)
    tags = fields.tags.movedim(1, 0).flatten(1, 2)  # [L, B * K, h, w]
    channel = torch.arange(len(maps), device=maps.device)[:, None]
    there = read_enlarged(tags, channel, x, y, size).movedim(0, -1)
    shape = fields.heatmaps.shape[:2]
    return Peaks(*(each.view(*shape, *each.shape[1:]) for each in (x, y, scores, there)))


def _local_maxima(maps: Tensor, size: tuple[int, int], min_score: float) -> _Found:
    """All local maxima of maps [M, h, w] above a score."""
    ratio = size[0] // maps.shape[-2]
    nearest = 1 / (2 * ratio) if ratio % 2 == 0 else 0.0
    step = _MAPS.get(maps.device.type, _MANY_MAPS)
    cells = [_promising(some, min_score, nearest) for some in torch.split(maps, step)]
    which = torch.cat([each[0] + step * part for part, each in enumerate(cells)])
    row, column = (torch.cat([each[axis] for each in cells]) for axis in (1, 2))
    at_once = zip(*(torch.split(each, _CELLS) for each in (which, row, column)), strict=True)
    parts = [_inside(maps, some, ratio, min_score) for some in at_once]
    return _Found(*map(torch.cat, zip(*parts, strict=True)))


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
    # A peak of the score s stands in a cell of at least .98 s, or more where cells are negative:
    # from the two comparisons with the quadrant's other cells and the pixel's own value.
    (height, width), many = maps.shape[1:], len(maps)
    depth = maps.amin(dim=(1, 2)).clamp(max=0)
    least = (min_score * (1 - 0.021) + 0.021 * depth)[:, None]
    rows = gcd(height, _BAND)
    which, band = (maps.view(many, -1, rows * width).amax(-1) > least).nonzero(as_tuple=True)
    around = functional.pad(maps[None], (1, 1, 1, 1), "replicate")[0].flatten(0, 1)
    lines = torch.arange(rows + 2, device=maps.device)
    lines = lines + (which * (height + 2) + band * rows)[:, None]
    bands = around.index_select(0, lines.flatten()).view(len(which), rows + 2, width + 2)
    at = _places(_highest_around(bands, least[which, :, None], nearest))
    band_at, row, column = at // (rows * width), at // width % rows, at % width
    return which[band_at], band[band_at] * rows + row, column


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


def _inside(maps: Tensor, cells: tuple[Tensor, ...], ratio: int, min_score: float) -> _Found:
    """The pixels of cells that are the largest around, above a score."""
    which, row, column = cells
    window = read_windows(maps, which, row, column, -_REACH, ratio + 2 * _REACH, ratio)
    highest = window  # [ratio + 4, ratio + 4, n], then [ratio, ratio, n]
    for axis in (0, 1):
        shifted = (highest.narrow(axis, step, ratio) for step in range(1 + 2 * _REACH))
        highest = reduce(torch.maximum, shifted)
    own = window[_REACH:-_REACH, _REACH:-_REACH]
    peaks = ((own == highest) & (own > min_score)).movedim(-1, 0)
    cell, down, across = peaks.nonzero(as_tuple=True)
    x, y = column[cell] * ratio + across, row[cell] * ratio + down
    return _Found(which[cell], x, y, own[down, across, cell])


def _best(
    maps: Tensor, size: tuple[int, int], count: int, min_score: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Columns x, y and scores [M, N] of the best local maxima of each map, 0 where there are fewer.

    Equal scores, as in the two rows of pixels at a border, come in the order in which `topk` meets
    them in a whole enlarged map: that is how the established implementation has them.
    """
    places, scores = _in_order(_local_maxima(maps, size, min_score), len(maps), count, size[1])
    tied = ((scores[:, 1:] == scores[:, :-1]) & (scores[:, 1:] > 0)).any(1).nonzero()[:, 0]
    if len(tied):  # which of them is met first depends on all maxima, the lowest among them
        every = _local_maxima(maps[tied], size, 0.0)
        places[tied], best = _as_topk(every, len(tied), count, size[1])
        scores[tied] = torch.where(best > min_score, best, 0)
    return places % size[1], places // size[1], scores


def _in_order(found: _Found, maps: int, count: int, width: int) -> tuple[Tensor, Tensor]:
    """Flat places and scores [M, N] of the best of each map, those first in the picture first."""
    order = (found.y * width + found.x).sort().indices
    order = order[found.scores[order].sort(descending=True, stable=True).indices]
    order = order[found.which[order].sort(stable=True).indices]
    which, x, y, scores = (values[order] for values in found)
    rank = _rank(which, maps)
    kept = rank < count
    places, best = x.new_zeros(maps, count), scores.new_zeros(maps, count)
    at = which[kept], rank[kept]
    places[at], best[at] = (y * width + x)[kept], scores[kept]
    return places, best


def _as_topk(found: _Found, maps: int, count: int, width: int) -> tuple[Tensor, Tensor]:
    """Flat places and scores [M, N] in the order of torch's topk over whole maps, on a CPU.

    It keeps a heap, begun with the first N values, into which go those larger than its smallest. So
    it goes about a row of all maxima in their order in the same way, if that is as long for it as
    to keep a heap.
    """
    flat = found.y * width + found.x
    order = flat.sort().indices
    order = order[found.which[order].sort(stable=True).indices]
    which, flat, scores = (values[order].cpu() for values in (found.which, flat, found.scores))
    at = torch.where(flat < count, flat, count + _rank(which, maps))
    length = max(_TOPK_BY_HEAP * count, 1 + int(at.max()))
    values, places = scores.new_zeros(maps, length), flat.new_zeros(maps, length)
    values[which, at], places[which, at] = scores, flat
    best = values.topk(count)
    return places.gather(1, best.indices).to(found.x), best.values.to(found.scores)


def _rank(which: Tensor, maps: int) -> Tensor:
    """Place of each of rising numbers among its equals."""
    first = torch.searchsorted(which, torch.arange(maps, device=which.device))
    return torch.arange(len(which), device=which.device) - first[which]


def read_places(
    heatmaps: Tensor, channel: Tensor, x: Tensor, y: Tensor, size: tuple[int, int]
) -> Tensor:
    """Places of peaks between the pixels: the middle, and a quarter toward the higher neighbour.

    Args:
        heatmaps: [C, h, w].
        channel: int64, whose peaks they are; broadcasts with `x` and `y`.
        x: int64, input pixels.
        y: int64, input pixels.
        size: height, width of the network's input.

    Returns:
        [..., 2] float32 x, y in input pixels.
    """
    height, width = size
    left, right = (x - 1).clamp(min=0), (x + 1).clamp(max=width - 1)
    up, down = (y - 1).clamp(min=0), (y + 1).clamp(max=height - 1)
    columns, rows = torch.stack([left, right, x, x]), torch.stack([y, y, up, down])
    before, after, above, below = read_enlarged(heatmaps, channel, columns, rows, size)
    return torch.stack([_quarter(x, before, after), _quarter(y, above, below)], dim=-1)


def _quarter(at: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Pixel indexes, half a pixel and a quarter on; of equal neighbours the first wins."""
    return at + 0.5 + torch.where(after > before, 0.25, -0.25)


def adjust(people: Tensor, image: Tensor, heatmaps: Tensor, size: tuple[int, int]) -> Tensor:
    """People whose keypoints lie between the pixels.

    Args:
        people: [T, K, 3] x, y (whole input pixels), score; a score of 0 is a missing keypoint.
        image: [T] int64, of the batch.
        heatmaps: [B, K, h, w] of the batch.
        size: height, width of the network's input.

    Returns:
        [T, K, 3] float32 x, y (input pixels), score; missing keypoints stay as they are.
    """
    x, y = people[..., :2].long().unbind(-1)
    kinds = people.shape[1]
    channel = image[:, None] * kinds + torch.arange(kinds, device=image.device)
    places = read_places(heatmaps.flatten(0, 1), channel, x, y, size)
    found = people[..., 2:] > 0
    return torch.cat([torch.where(found, places, people[..., :2]), people[..., 2:]], dim=-1)
