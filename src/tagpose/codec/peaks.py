"""This file finds the peaks of heatmaps and reads places and tags off them."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.enlargement import read_enlarged
from tagpose.codec.maxima import Maxima, local_maxima
from tagpose.structures import STRIDE, Fields

_LEAST: Final = 1e-3  # of a heatmap's value whose logarithm is taken
_TOPK_BY_HEAP: Final = 64  # values per wanted one from which on it keeps a heap (TopKImpl.h)


class Peaks(NamedTuple):
    """The best local maxima of every heatmap of a batch, by falling score."""

    x: Tensor  # [B, K, N] int64, input pixels
    y: Tensor  # [B, K, N] int64, input pixels
    scores: Tensor  # [B, K, N] float32: heatmap values, 0 where there are fewer than N
    tags: Tensor  # [B, K, N, L] float32


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


def _best(
    maps: Tensor, size: tuple[int, int], count: int, min_score: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Columns x, y and scores [M, N] of the best local maxima of each map, 0 where there are fewer.

    Equal scores, as in the two rows of pixels at a border, come in the order in which `topk` meets
    them in a whole enlarged map: that is how the established implementation has them.
    """
    # one more than wanted, which may be the equal of the last
    found = local_maxima(maps, size, min_score)
    places, scores = _in_order(found, len(maps), count + 1, size[1])
    tied = ((scores[:, 1:] == scores[:, :-1]) & (scores[:, 1:] > 0)).any(1).nonzero()[:, 0]
    places, scores = places[:, :count], scores[:, :count]
    if len(tied):  # which of them is met first depends on all maxima, the lowest among them
        every = local_maxima(maps[tied], size, 0.0)
        places[tied], best = _as_topk(every, len(tied), count, size[1])
        scores[tied] = torch.where(best > min_score, best, 0)
    return places % size[1], places // size[1], scores


def _in_order(found: Maxima, maps: int, count: int, width: int) -> tuple[Tensor, Tensor]:
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


def _as_topk(found: Maxima, maps: int, count: int, width: int) -> tuple[Tensor, Tensor]:
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
    heatmaps: Tensor,
    channel: Tensor,
    x: Tensor,
    y: Tensor,
    size: tuple[int, int],
    *,
    sub_cell: bool = False,
) -> Tensor:
    """Places of peaks between the pixels: the middle, and a quarter toward the higher neighbour.

    Args:
        heatmaps: [C, h, w].
        channel: int64, whose peaks they are; broadcasts with `x` and `y`.
        x: int64, input pixels.
        y: int64, input pixels.
        size: height, width of the network's input.
        sub_cell: whether the heatmaps are of a network that learned peaks between the cells: then
            a place is the top of the Gaussian through a cell and its neighbours, along each axis.
            (A parabola through logarithms; Zhang 2020 writes it as a Taylor step.)

    Returns:
        [..., 2] float32 x, y in input pixels.
    """
    if sub_cell:
        return torch.stack(_tops(heatmaps, channel, x, y, size), dim=-1)
    height, width = size
    left, right = (x - 1).clamp(min=0), (x + 1).clamp(max=width - 1)
    up, down = (y - 1).clamp(min=0), (y + 1).clamp(max=height - 1)
    columns, rows = torch.stack([left, right, x, x]), torch.stack([y, y, up, down])
    before, after, above, below = read_enlarged(heatmaps, channel, columns, rows, size)
    return torch.stack([_quarter(x, before, after), _quarter(y, above, below)], dim=-1)


def _tops(
    heatmaps: Tensor, channel: Tensor, x: Tensor, y: Tensor, size: tuple[int, int]
) -> list[Tensor]:
    """Tops x and y, in input pixels, of the Gaussians through the cells of pixels."""
    height, width = heatmaps.shape[-2:]
    ratio = size[0] // height
    # heatmaps that were enlarged already have neighbours that say the same
    step = 1 if ratio > 1 else STRIDE
    column, row = x // ratio, y // ratio
    flat, tops = heatmaps.flatten(), []
    for at, across, length in ((column, 1, width), (row, width, height)):
        place = (channel * height + row) * width + column
        inside = (at >= step) & (at < length - step)
        beside = torch.where(inside, step * across, 0)
        values = [flat[place + to].clamp(min=_LEAST).log() for to in (-beside, 0, beside)]
        tops.append(ratio * (at + step * _top(*values)) + (ratio - 1) / 2)
    return tops


def _top(before: Tensor, here: Tensor, after: Tensor) -> Tensor:
    """Where between the neighbours a parabola is highest, from -0.5 to 0.5; 0 where it is none."""
    bend = 2 * here - before - after
    return torch.where(bend > 0, (after - before) / (2 * bend), 0).clamp(-0.5, 0.5)


def _quarter(at: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Pixel indexes, half a pixel and a quarter on; of equal neighbours the first wins."""
    return at + 0.5 + torch.where(after > before, 0.25, -0.25)


def adjust(
    people: Tensor,
    image: Tensor,
    heatmaps: Tensor,
    size: tuple[int, int],
    *,
    sub_cell: bool = False,
) -> Tensor:
    """People whose keypoints lie between the pixels.

    Args:
        people: [T, K, 3] x, y (whole input pixels), score; a score of 0 is a missing keypoint.
        image: [T] int64, of the batch.
        heatmaps: [B, K, h, w] of the batch.
        size: height, width of the network's input.
        sub_cell: as `read_places` has it.

    Returns:
        [T, K, 3] float32 x, y (input pixels), score; missing keypoints stay as they are.
    """
    x, y = people[..., :2].long().unbind(-1)
    kinds = people.shape[1]
    channel = image[:, None] * kinds + torch.arange(kinds, device=image.device)
    places = read_places(heatmaps.flatten(0, 1), channel, x, y, size, sub_cell=sub_cell)
    found = people[..., 2:] > 0
    return torch.cat([torch.where(found, places, people[..., :2]), people[..., 2:]], dim=-1)
