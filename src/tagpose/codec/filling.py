"""This file looks for the keypoints that people lack, where their tags lead."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.bounds import Bounds, bounds_of, project, value_bounds
from tagpose.codec.enlargement import mix_cells, read_cells, read_enlarged, read_windows
from tagpose.codec.peaks import read_places
from tagpose.codec.tiles import INSIDE, Maps
from tagpose.structures import Fields

_SEEKERS: Final = 2048  # held against all large tiles at once, which bounds the memory
# Tiles whose pixels are looked at at once: as many as a CPU can without being slower (its cores
# meet seldom then), and as keep another device busy.
_TILES: Final = {"cpu": 8192}
_MANY_TILES: Final = 1 << 17
# Shares of them, so that of two cores none reads what the other wrote; it is all one to more.
_SHARES: Final = 2
# Of a seeker's large tiles those best by their bounds, and of the small ones in them those best by
# their estimates, are looked into first. More of them leave less for later: 24 to 48 large and 4 to
# 8 small ones take as long as these within a tenth, for 5 people and for 30.
_LARGE, _SMALL = 32, 6


class Seekers(NamedTuple):
    """Who looks for which keypoint: E pairs of a person and a keypoint that it lacks."""

    which: Tensor  # [..., E] int64, of which map: image * K + keypoint
    owner: Tensor  # [L, ..., E] the tags of the person

    def some(self, at: Tensor) -> "Seekers":
        """Those at places [n]; some may be there several times."""
        return Seekers(self.which.index_select(0, at), self.owner.index_select(1, at))

    def split(self, at_once: int) -> "list[Seekers]":
        """All of them, so many at a time."""
        parts = zip(
            torch.split(self.which, at_once), torch.split(self.owner, at_once, 1), strict=True
        )
        return [Seekers(*part) for part in parts]


class _Pairs(NamedTuple):
    """Who looks into which small tile."""

    who: Tensor  # [n] int64, of the seekers
    tile: Tensor  # [n] int64


def fill_in(
    people: Tensor,
    image: Tensor,
    person_tags: Tensor,
    fields: Fields,
    size: tuple[int, int],
    *,
    sub_cell: bool = False,
) -> Tensor:
    """People whose missing keypoints are where the heatmap is high and the tag is theirs.

    Args:
        people: [T, K, 3] x, y (input pixels), score; a score of 0 is a missing keypoint.
        image: [T] int64, of the batch.
        person_tags: [T, L] mean of the tags at the keypoints that a person has.
        fields: of the batch.
        size: height, width of the network's input, multiples of those of the tags.
        sub_cell: as `read_places` has it.

    Returns:
        [T, K, 3] float32; a keypoint stays missing where the score found is not positive.
    """
    somewhere = fields.heatmaps.amax((2, 3)) > 0  # [B, K]
    lacking = (people[..., 2] == 0) & somewhere[image]
    keypoint, person = lacking.mT.nonzero(as_tuple=True)  # map by map
    which = image[person] * people.shape[1] + keypoint
    tags = fields.tags.movedim(1, 0).flatten(1, 2)
    maps = Maps(fields.heatmaps.flatten(0, 1), tags, size)
    places = best_places(maps, Seekers(which, person_tags.to(tags)[person].mT))
    x, y = places % size[1], places // size[1]
    score = read_enlarged(maps.heatmaps, which, x, y, size)
    between = read_places(maps.heatmaps, which, x, y, size, sub_cell=sub_cell)
    found = torch.cat([between, score[:, None]], dim=-1)
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
    return torch.cat([_search(maps, large, small, some) for some in seekers.split(_SEEKERS)])


def _search(maps: Maps, large: Bounds, small: Bounds, seekers: Seekers) -> Tensor:
    """Places [E]: first in the most promising tiles, then in all that may hold a better pixel."""
    which, owner = seekers.which, project(seekers.owner)
    values = value_bounds(large.some(which), owner[:, None])  # [E, R]
    first = _promising(small, values, which, owner)
    found = _highest(maps, seekers.some(first.who), first.tile)
    best = values.new_full((len(values),), -torch.inf).scatter_reduce(0, first.who, found, "amax")
    second = _possible(small, values, which, owner, best, first)
    highest = torch.cat([found, _highest(maps, seekers.some(second.who), second.tile)])
    who, tile = (torch.cat(each) for each in zip(first, second, strict=True))
    best = best.scatter_reduce(0, who, highest, "amax")
    at = (highest == best[who]).nonzero()[:, 0]
    places = _first_highest(maps, seekers.some(who[at]), tile[at])
    nowhere = torch.full_like(which, maps.size[0] * maps.size[1])
    return nowhere.scatter_reduce(0, who[at], places, "amin")


def _promising(small: Bounds, values: Tensor, which: Tensor, owner: Tensor) -> _Pairs:
    """Those that promise most, by the bounds [E, R] of large tiles."""
    seekers, tiles = values.shape
    tile = values.topk(min(_LARGE, tiles), sorted=False).indices
    # where tags are not sure, what they probably are says more than what they may be
    inside = small.some((which[:, None] * tiles + tile).flatten())
    guesses = value_bounds(inside, owner.repeat_interleave(tile.shape[1])[:, None], doubt=0.5)
    at = guesses.view(seekers, -1).topk(_SMALL, sorted=False).indices
    who = torch.arange(seekers, device=which.device)
    within = tile.gather(1, at // INSIDE) * INSIDE + at % INSIDE
    return _Pairs(who.repeat_interleave(_SMALL), within.flatten())


def _possible(
    small: Bounds, values: Tensor, which: Tensor, owner: Tensor, best: Tensor, seen: _Pairs
) -> _Pairs:
    """All not seen yet that may hold as good a pixel as the best [E], by the bounds [E, R]."""
    who, tile = (values >= best[:, None]).nonzero(as_tuple=True)
    inside = small.some(which[who] * values.shape[1] + tile)
    reaching = value_bounds(inside, owner[who, None]) >= best[who, None]
    tiles = values.shape[1]
    place, looked = who * tiles + tile, seen.who * tiles + seen.tile // INSIDE
    among = torch.searchsorted(place, looked).clamp_(max=len(place) - 1)
    there = place[among] == looked
    reaching[among[there], seen.tile[there] % INSIDE] = False
    pair, at = reaching.nonzero(as_tuple=True)
    return _Pairs(who[pair], tile[pair] * INSIDE + at)


def _highest(maps: Maps, seekers: Seekers, tile: Tensor) -> Tensor:
    """The best value [n] in one small tile for each seeker."""
    parts = _at_once(seekers, tile)
    return torch.cat([_values(maps, *part).amax((1, 2)).flatten() for part in parts])


def _first_highest(maps: Maps, seekers: Seekers, tile: Tensor) -> Tensor:
    """The first place [n] of the best value, y * W + x, in one small tile for each seeker."""
    (row, column), (height, width) = maps.corner(tile), maps.size
    parts = _at_once(seekers, tile)
    at = torch.cat([_values(maps, *part).flatten(1, 2).argmax(1).flatten() for part in parts])
    first, pixels, ratio = maps.tag_window
    y, x = row * ratio + first + at // pixels, column * ratio + first + at % pixels
    # what is outside has the value of the pixel at the border
    return y.clamp_(0, height - 1) * width + x.clamp_(0, width - 1)


def _at_once(seekers: Seekers, tile: Tensor) -> "list[tuple[Seekers, Tensor]]":
    """As many seekers and tiles as are looked at at once, in shares [S, n]."""
    count = _TILES.get(tile.device.type, _MANY_TILES)
    parts = []
    for some, inside in zip(seekers.split(count), torch.split(tile, count), strict=True):
        shape = (1 if len(inside) % _SHARES else _SHARES, -1)
        shared = Seekers(some.which.view(shape), torch.unflatten(some.owner, 1, shape))
        parts.append((shared, inside.view(shape)))
    return parts


def _values(maps: Maps, seekers: Seekers, tile: Tensor) -> Tensor:
    """What pixels of small tiles [S, n] are worth to a seeker each, [S, pixels, pixels, n]."""
    (row, column), which = maps.corner(tile), seekers.which
    finer = row * maps.finer, column * maps.finer
    scores = read_windows(maps.heatmaps, which, *finer, maps.heat_window)
    # the tags of all views in one reading
    view = torch.arange(len(maps.tags), device=which.device)[:, None]
    every = which[:, None] + len(maps.heatmaps) * view  # [S, L, n]
    tags = maps.tags.flatten(0, 1)
    cells = read_cells(tags, every, row[:, None], column[:, None], maps.tag_window)
    cells.sub_(seekers.owner.transpose(0, 1)[:, :, None, None])  # they are fewer than the pixels
    first, *others = mix_cells(cells, maps.tag_window).unbind(1)
    squared = first.square_()
    for apart in others:
        squared.addcmul_(apart, apart)
    distance = squared.sqrt_().round_()
    return torch.sub(scores, distance, out=distance)
