"""This file looks for the keypoints that a person lacks, where its tag leads."""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tagpose.codec.enlargement import enlarge, read_enlarged, window_max
from tagpose.codec.peaks import read_places

_PROBES: Final = 8  # blocks looked into first; more raise the floor, fewer cost less
_BATCH: Final = 1 << 14  # blocks looked into at once, which bounds the memory
_ROUNDING: Final = 1e-5  # by which float32 may leave the hull of four neighbours, relative


class _Blocks(NamedTuple):
    """One keypoint's maps, and between what its values lie in the block of pixels of each cell."""

    scores: Tensor  # [H, W] enlarged heatmap
    tags: Tensor  # [L, h, w]
    ceiling: Tensor  # [h * w] highest score of the block
    lowest: Tensor  # [L, h * w] bound of the block's enlarged tags
    highest: Tensor  # [L, h * w]


def fill_in(
    people: np.ndarray,
    person_tags: np.ndarray,
    heatmaps: Tensor,
    tags: Tensor,
    size: tuple[int, int],
) -> np.ndarray:
    """People whose missing keypoints are where the heatmap is high and the tag is theirs.

    Args:
        people: [P, K, 3] x, y (input pixels), score; a score of 0 is a missing keypoint.
        person_tags: [P, L] mean of the tags at the keypoints that a person has.
        heatmaps: [K, h, w] of their image.
        tags: [L, K, h, w] of the image.
        size: height, width of the network's input, multiples of those of the tags.

    Returns:
        [P, K, 3] float32; a keypoint stays missing where the score found is not positive.
    """
    filled = people.copy()
    owners = torch.from_numpy(person_tags).to(tags)
    for keypoint in np.flatnonzero((people[..., 2] == 0).any(0)):
        lacking = np.flatnonzero(people[:, keypoint, 2] == 0)
        scores = enlarge(heatmaps[[keypoint]], size)
        places = best_places(scores[0], tags[:, keypoint], owners[lacking])
        x, y = places % size[1], places // size[1]
        xy = read_places(scores, torch.zeros_like(x), x, y, size)
        found = torch.cat([xy, scores[0, y, x, None]], dim=-1).cpu().numpy()
        filled[lacking, keypoint] = np.where(found[:, 2:] > 0, found, 0)
    return filled


def best_places(scores: Tensor, tags: Tensor, owners: Tensor) -> Tensor:
    """The first arg max of score - round(|tag - owner|) over all pixels, for each owner.

    The pixels of a cell lie between its neighbours' tags, which bounds their values; only blocks
    whose bound reaches what was found in the most promising ones are looked into. The result is
    that of a search of all pixels.

    Args:
        scores: [H, W] enlarged heatmap of one keypoint.
        tags: [L, h, w] of the keypoint; H and W are multiples of h and w.
        owners: [P, L].

    Returns:
        [P] int64, y * W + x.
    """
    blocks = _blocks(scores, tags)
    bounds = _bounds(blocks, owners)  # [P, h * w]
    probes = bounds.topk(min(_PROBES, bounds.shape[1])).indices
    who = torch.arange(len(owners), device=owners.device)
    floor, _ = _look_into(blocks, owners, who.repeat_interleave(probes.shape[1]), probes.flatten())
    who, which = (bounds >= floor[:, None]).nonzero(as_tuple=True)
    return _look_into(blocks, owners, who, which)[1]


def _blocks(scores: Tensor, tags: Tensor) -> _Blocks:
    """The keypoint's maps with the bounds of their blocks."""
    height, width = tags.shape[-2:]
    rows, columns = scores.shape[0] // height, scores.shape[1] // width
    ceiling = scores.view(height, rows, width * columns).amax(1)
    ceiling = ceiling.view(height * width, columns).amax(1)
    # An enlarged pixel is a mean of its cell and the cells around it; the border repeats itself.
    highest, lowest = window_max(tags, 1).flatten(1), -window_max(-tags, 1).flatten(1)
    slack = _ROUNDING * tags.abs().max()
    return _Blocks(scores, tags, ceiling, lowest - slack, highest + slack)


def _bounds(blocks: _Blocks, owners: Tensor) -> Tensor:
    """What no pixel of a block exceeds [P, h * w]: its ceiling less the least tag distance."""
    distance = torch.zeros(len(owners), len(blocks.ceiling), device=owners.device)
    for lowest, highest, owner in zip(blocks.lowest, blocks.highest, owners.mT, strict=True):
        nearest = torch.minimum(torch.maximum(owner[:, None], lowest), highest)
        distance += (nearest - owner[:, None]).square()
    # Slightly nearer, as a distance of a half must not be rounded up here and down at the pixel.
    return blocks.ceiling - (distance.sqrt() * (1 - _ROUNDING)).round()


def _look_into(
    blocks: _Blocks, owners: Tensor, who: Tensor, which: Tensor
) -> tuple[Tensor, Tensor]:
    """The best value [P] and its first place [P] in pairs [N] of an owner and a block."""
    best = torch.full((len(owners),), -torch.inf, device=owners.device)
    first = torch.zeros(len(owners), dtype=torch.int64, device=owners.device)
    for some, those in zip(torch.split(who, _BATCH), torch.split(which, _BATCH), strict=True):
        values, places = _values(blocks, owners[some], those)
        peak = values.amax(1)
        earliest = torch.where(values == peak[:, None], places, blocks.scores.numel()).amin(1)
        before, best = best, best.scatter_reduce(0, some, peak, "amax")
        first = torch.where(before == best, first, blocks.scores.numel())
        first = first.scatter_reduce(
            0, some, torch.where(peak == best[some], earliest, blocks.scores.numel()), "amin"
        )
    return best, first


def _values(blocks: _Blocks, owners: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Values of score - round(|tag - owner|) and flat places [N, pixels of a block]."""
    (height, width), (cells_y, cells_x) = blocks.scores.shape, blocks.tags.shape[-2:]
    rows, columns = height // cells_y, width // cells_x
    pixel = torch.arange(rows * columns, device=which.device)
    y = (which // cells_x * rows)[:, None] + pixel // columns
    x = (which % cells_x * columns)[:, None] + pixel % columns
    there = read_enlarged(blocks.tags[:, None], torch.zeros_like(x), x, y, (height, width))
    distance = (there.movedim(0, -1) - owners[:, None]).square().sum(-1).sqrt()
    return blocks.scores[y, x] - distance.round(), y * width + x
