"""This file looks for the keypoints that people lack, where their tags lead."""

from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.enlargement import read_enlarged, read_windows
from tagpose.codec.peaks import read_places
from tagpose.codec.tiles import GROUP, SIDE, Bounds, Maps, bounds_of, divide, project, value_bounds
from tagpose.structures import Fields

_SEEKERS: Final = 2048  # held against all large tiles at once, which bounds the memory
# Tiles whose pixels are looked at at once: as many as stay in a CPU's caches, and as keep another
# device busy.
_TILES: Final = {"cpu": 2048}
_MANY_TILES: Final = 1 << 17
_LARGE, _SMALL = 32, 4


class Seekers(NamedTuple):
    """Who looks for which keypoint: E pairs of a person and a keypoint that it lacks."""

    which: Tensor  # [E] int64, of which map: image * K + keypoint
    owner: Tensor  # [L, E] the tags of the person

    def some(self, at: Tensor) -> "Seekers":
        """Those at places [n]; some may be there several times."""
        return Seekers(self.which[at], self.owner[:, at])


class _Best(NamedTuple):
    """The best pixel that was found for each of E seekers."""

    value: Tensor  # [E]
    place: Tensor  # [E] int64, y * W + x


def fill_in(
    people: Tensor, image: Tensor, person_tags: Tensor, fields: Fields, size: tuple[int, int]
) -> Tensor:
    """People whose missing keypoints are where the heatmap is high and the tag is theirs.

    Args:
        people: [T, K, 3] x, y (input pixels), score; a score of 0 is a missing keypoint.
        image: [T] int64, of the batch.
        person_tags: [T, L] mean of the tags at the keypoints that a person has.
        fields: of the batch.
        size: height, width of the network's input, multiples of those of the tags.

    Returns:
        [T, K, 3] float32; a keypoint stays missing where the score found is not positive.
    """
    keypoint, person = (people[..., 2] == 0).mT.nonzero(as_tuple=True)  # map by map
    which = image[person] * people.shape[1] + keypoint
    tags = fields.tags.movedim(1, 0).flatten(1, 2)
    maps = Maps(fields.heatmaps.flatten(0, 1), tags, size)
    places = best_places(maps, Seekers(which, person_tags.to(tags)[person].mT))
    x, y = places % size[1], places // size[1]
    score = read_enlarged(maps.heatmaps, which, x, y, size)
    found = torch.cat([read_places(maps.heatmaps, which, x, y, size), score[:, None]], dim=-1)
    filled = people.clone()
    filled[person, keypoint] = torch.where(score[:, None] > 0, found, 0)
    return filled


def best_places(maps: Maps, seekers: Seekers) -> Tensor:
    """The first arg max of score - round(|tag - owner|) over all pixels, for each seeker.

    The pixels of a tile lie between its cells, which bounds their values; only tiles whose bound
    reaches what was found in the most promising ones are looked into. The result is that of a
    search of all pixels.

    Args:
        maps: of all images and keypoints.
        seekers: E of them; those of one map side by side are served fastest.

    Returns:
        [E] int64, y * W + x.
    """
    used, which = torch.unique(seekers.which, return_inverse=True)
    if not len(used):
        return used
    if 2 * len(used) < len(maps.heatmaps):  # few are worth a copy
        maps, seekers = maps.some(used), Seekers(which, seekers.owner)
    large, small = bounds_of(maps)
    places = torch.arange(len(which), device=which.device)
    parts = torch.split(places, _SEEKERS)
    return torch.cat([_search(maps, large, small, seekers.some(at)) for at in parts])


def _search(maps: Maps, large: Bounds, small: Bounds, seekers: Seekers) -> Tensor:
    """Places [E]: first in the most promising tiles, then in all that may hold a better pixel."""
    columns = large.ceiling.shape[-1]
    bounds = value_bounds(large.of_maps(seekers.which), project(seekers.owner)[:, None])  # [E, T]
    best = _Best(bounds.new_full((len(bounds),), -torch.inf), torch.zeros_like(seekers.which))
    for pairs in (_promising, _possible):
        who, tile = pairs(small, bounds, columns, seekers, best)
        best = _look_into(maps, seekers, who, tile, best)
    return best.place


def _promising(
    small: Bounds, large: Tensor, columns: int, seekers: Seekers, best: _Best
) -> tuple[Tensor, Tensor]:
    """Pairs [n] of a seeker and a small tile, those that promise most."""
    del best
    within = divide(large.topk(min(_LARGE, large.shape[1])).indices, columns).flatten(1)  # [E, n]
    # where tags are not sure, what they probably are says more than what they may be
    inside = small.some(seekers.which, within)
    values = value_bounds(inside, project(seekers.owner)[:, None], doubt=0.5)
    tile = within.gather(1, values.topk(_SMALL).indices)
    who = torch.arange(len(large), device=large.device)
    return who.repeat_interleave(_SMALL), tile.flatten()


def _possible(
    small: Bounds, large: Tensor, columns: int, seekers: Seekers, best: _Best
) -> tuple[Tensor, Tensor]:
    """Pairs [n] of a seeker and a small tile, all that may hold as good a pixel as the best."""
    who, tile = (large >= best.value[:, None]).nonzero(as_tuple=True)
    (which, owner), within = seekers.some(who), divide(tile, columns)  # [n, S]
    values = value_bounds(small.some(which, within), project(owner)[:, None])
    pair, inside = (values >= best.value[who, None]).nonzero(as_tuple=True)
    return who[pair], within[pair, inside]


def _look_into(maps: Maps, seekers: Seekers, who: Tensor, tile: Tensor, best: _Best) -> _Best:
    """The best so far, after a look at the pixels of pairs [n] of a seeker and a small tile."""
    nowhere = maps.size[0] * maps.size[1]
    at_once = _TILES.get(who.device.type, _MANY_TILES)
    for some, those in zip(torch.split(who, at_once), torch.split(tile, at_once), strict=True):
        peak, place = _best_pixels(maps, seekers.some(some), those)
        value = best.value.scatter_reduce(0, some, peak, "amax")
        kept = torch.where(best.value == value, best.place, nowhere)
        place = torch.where(peak == value[some], place, nowhere)
        best = _Best(value, kept.scatter_reduce(0, some, place, "amin"))
    return best


def _best_pixels(maps: Maps, seekers: Seekers, tile: Tensor) -> tuple[Tensor, Tensor]:
    """The best value and its first flat place in one small tile for each seeker, [n] both."""
    (height, width), ratio, finer = maps.size, maps.ratio, maps.finer
    which, pixels, columns = (
        seekers.which,
        SIDE * ratio,
        -(-maps.tags.shape[-1] // (SIDE * GROUP)) * GROUP,
    )
    row, column = tile // columns * SIDE, tile % columns * SIDE
    finer_place = row * finer, column * finer
    values = read_windows(maps.heatmaps, which, *finer_place, 0, pixels, maps.heat_ratio)
    views, many = len(maps.tags), len(maps.heatmaps)
    # the tags of all views in one reading
    every = (which + many * torch.arange(views, device=which.device)[:, None]).flatten()
    corners = row.repeat(views), column.repeat(views)
    apart = read_windows(maps.tags.flatten(0, 1), every, *corners, 0, pixels, ratio)
    apart = apart.view(pixels, pixels, views, -1).sub_(seekers.owner).square_()
    distance = reduce(torch.add, apart.unbind(2))
    values = values - distance.sqrt_().round_()
    offset = torch.arange(pixels, device=tile.device)[:, None]
    y, x = row * ratio + offset, column * ratio + offset  # [pixels, n]
    values.masked_fill_((y >= height)[:, None] | (x >= width), -torch.inf)
    peak, at = values.flatten(0, 1).max(0)
    return peak, (row * ratio + at // pixels) * width + column * ratio + at % pixels
