"""This file looks for the keypoints that people lack, where their tags lead."""

from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.bounds import Bounds, bounds_of, project, value_bounds
from tagpose.codec.enlargement import read_enlarged, read_windows
from tagpose.codec.peaks import read_places
from tagpose.codec.tiles import INSIDE, SIDE, Maps
from tagpose.structures import Fields

_SEEKERS: Final = 2048  # held against all large tiles at once, which bounds the memory
# Tiles whose pixels are looked at at once: as many as stay in a CPU's caches, and as keep another
# device busy.
_TILES: Final = {"cpu": 4096}
_MANY_TILES: Final = 1 << 17
# Of a seeker's large tiles those best by their bounds, and of the small ones in them those best by
# their estimates, are looked into first. More of them leave less for later: 30 people take as long
# with 24 to 64 large and 2 to 6 small ones.
_LARGE, _SMALL = 32, 4


class Seekers(NamedTuple):
    """Who looks for which keypoint: E pairs of a person and a keypoint that it lacks."""

    which: Tensor  # [E] int64, of which map: image * K + keypoint
    owner: Tensor  # [L, E] the tags of the person

    def some(self, at: Tensor) -> "Seekers":
        """Those at places [n]; some may be there several times."""
        return Seekers(self.which[at], self.owner[:, at])


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
    owner = project(seekers.owner)
    bounds = value_bounds(large.some(seekers.which), owner[:, None])  # [E, T]
    best = bounds.new_full((len(bounds),), -torch.inf)
    for pairs in (_promising, _possible):
        who, tile = pairs(small, bounds, seekers.which, owner, best)
        highest = _highest(maps, seekers.some(who), tile)
        best = best.scatter_reduce(0, who, highest, "amax")
    at = (highest == best[who]).nonzero()[:, 0]
    places = _first_highest(maps, seekers.some(who[at]), tile[at])
    nowhere = torch.full_like(seekers.which, maps.size[0] * maps.size[1])
    return nowhere.scatter_reduce(0, who[at], places, "amin")


def _promising(
    small: Bounds, large: Tensor, which: Tensor, owner: Tensor, best: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs [n] of a seeker and a small tile, those that promise most."""
    del best
    seekers, tiles = large.shape
    tile = large.topk(min(_LARGE, tiles), sorted=False).indices
    # where tags are not sure, what they probably are says more than what they may be
    inside = small.some((which[:, None] * tiles + tile).flatten())
    values = value_bounds(inside, owner.repeat_interleave(tile.shape[1])[:, None], doubt=0.5)
    at = values.view(seekers, -1).topk(_SMALL, sorted=False).indices
    who = torch.arange(seekers, device=large.device)
    within = tile.gather(1, at // INSIDE) * INSIDE + at % INSIDE
    return who.repeat_interleave(_SMALL), within.flatten()


def _possible(
    small: Bounds, large: Tensor, which: Tensor, owner: Tensor, best: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs [n] of a seeker and a small tile, all that may hold as good a pixel as the best [E]."""
    who, tile = (large >= best[:, None]).nonzero(as_tuple=True)
    inside = small.some(which[who] * large.shape[1] + tile)
    values = value_bounds(inside, owner[who, None])
    pair, at = (values >= best[who, None]).nonzero(as_tuple=True)
    return who[pair], tile[pair] * INSIDE + at


def _highest(maps: Maps, seekers: Seekers, tile: Tensor) -> Tensor:
    """The best value [n] in one small tile for each seeker."""
    at_once = _TILES.get(tile.device.type, _MANY_TILES)
    places = torch.arange(len(tile), device=tile.device)
    parts = torch.split(places, at_once)
    return torch.cat([_values(maps, seekers.some(at), tile[at]).amax((0, 1)) for at in parts])


def _first_highest(maps: Maps, seekers: Seekers, tile: Tensor) -> Tensor:
    """The first place [n] of the best value, y * W + x, in one small tile for each seeker."""
    row, column = maps.corner(tile)
    values = _values(maps, seekers, tile)
    at, pixels = values.flatten(0, 1).argmax(0), len(values)
    return (row * maps.ratio + at // pixels) * maps.size[1] + column * maps.ratio + at % pixels


def _values(maps: Maps, seekers: Seekers, tile: Tensor) -> Tensor:
    """What the pixels of one small tile are worth to each seeker, [pixels, pixels, n]."""
    (row, column), which, pixels = maps.corner(tile), seekers.which, SIDE * maps.ratio
    finer = row * maps.finer, column * maps.finer
    scores = read_windows(maps.heatmaps, which, *finer, 0, pixels, maps.heat_ratio)
    views, many = len(maps.tags), len(maps.heatmaps)
    # the tags of all views in one reading
    every = (which + many * torch.arange(views, device=which.device)[:, None]).flatten()
    corners = row.repeat(views), column.repeat(views)
    apart = read_windows(maps.tags.flatten(0, 1), every, *corners, 0, pixels, maps.ratio)
    apart = apart.view(pixels, pixels, views, -1).sub_(seekers.owner).square_()
    distance = reduce(torch.add, apart.unbind(2)).sqrt_().round_()
    return _only_inside(torch.sub(scores, distance, out=distance), maps, row, column)


def _only_inside(values: Tensor, maps: Maps, row: Tensor, column: Tensor) -> Tensor:
    """The values of tiles, -inf at pixels that are outside of the input."""
    pixels = len(values)
    if maps.are_tiled:
        return values
    offset = torch.arange(pixels, device=row.device)[:, None]
    below = row * maps.ratio + offset >= maps.size[0]  # [pixels, n]
    right = column * maps.ratio + offset >= maps.size[1]
    return values.masked_fill_(below[:, None] | right, -torch.inf)
