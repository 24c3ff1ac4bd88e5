"""This file looks with numpy for the keypoints that people lack, where their tags lead.

It goes into exported folders as it stands, as its neighbours do; `codec` does the same with torch.
"""

from typing import Final, NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from .numpy_maps import AROUND, enlarged, square

_ROUNDING: Final = 1e-5  # by which float32 may leave the hull of four neighbours, relative
_FIRST: Final = 64  # cells that say how good the best pixel is at least; of 1 to 64 the fastest


class Sought(NamedTuple):
    """The maps of one keypoint, and what the pixels of each cell of the tags lie between."""

    heatmap: np.ndarray  # [h, w], or of smaller cells
    tags: np.ndarray  # [L, h, w]
    ratio: int  # input pixels per cell of the tags
    heat_ratio: int  # input pixels per cell of the heatmap
    ceiling: np.ndarray  # [h, w] of the heatmap, at most
    lowest: np.ndarray  # [L, h, w] of the tags
    highest: np.ndarray  # [L, h, w] of the tags


def sought(heatmap: np.ndarray, tags: np.ndarray, ratio: int) -> Sought:
    """What must be known to look for a keypoint, for whomever.

    Args:
        heatmap: [h, w], or of smaller cells.
        tags: [L, h, w].
        ratio: input pixels per cell of the tags.
    """
    rows, columns = tags.shape[1:]
    finer, around = heatmap.shape[-1] // columns, (1, AROUND, AROUND)
    ceiling = maximum_filter(heatmap, AROUND).reshape(rows, finer, columns, finer).max((1, 3))
    ceiling += _ROUNDING * np.abs(ceiling)
    lowest, highest = minimum_filter(tags, around), maximum_filter(tags, around)
    return Sought(heatmap, tags, ratio, ratio // finer, ceiling, lowest, highest)


def filled_in(points: np.ndarray, owners: np.ndarray, maps: Sought) -> np.ndarray:
    """Points of one keypoint, those that were missing where heatmap is high and tag is theirs.

    Args:
        points: [P, 3] x, y (whole input pixels), score; a score of 0 is a missing keypoint.
        owners: [P, L] mean tags of the people.
        maps: of the keypoint.

    Returns:
        [P, 3] likewise; a keypoint stays missing where the score found is not positive.
    """
    filled = points.copy()
    for person in np.flatnonzero(points[:, 2] == 0):
        x, y = _best_pixel(maps, owners[person])
        score = enlarged(maps.heatmap, x, y, maps.heat_ratio)
        if score > 0:
            filled[person] = x, y, score
    return filled


def _best_pixel(maps: Sought, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first arg max x, y [] of score - round(|tag - owner|) over all pixels.

    Only cells whose bound reaches what was found in the most promising ones are looked into.
    """
    bound = _bound(maps, owner).ravel()
    first = np.argpartition(bound, -min(_FIRST, bound.size))[-_FIRST:]
    least = _values(maps, owner, first)[0].max()
    values, places = _values(maps, owner, np.flatnonzero(bound >= least))
    best, width = places[values == values.max()].min(), maps.ratio * maps.tags.shape[-1]
    return best % width, best // width


def _bound(maps: Sought, owner: np.ndarray) -> np.ndarray:
    """What score - round(|tag - owner|) does not exceed in each cell [h, w]."""
    own = owner[:, None, None]
    outside = np.maximum(np.maximum(maps.lowest - own, own - maps.highest), 0)
    # slightly nearer, as a distance of a half must not be rounded up here and down at the pixel
    distance = np.sqrt(np.square(outside).sum(0)) * np.float32(1 - _ROUNDING)
    return maps.ceiling - np.rint(distance)


def _values(maps: Sought, owner: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the pixels of cells [n] are worth [n, side, side], and their places, y * W + x."""
    rows, columns = np.divmod(cells, maps.tags.shape[-1])
    x, y = square(columns, rows, maps.ratio)
    apart = enlarged(maps.tags, x, y, maps.ratio) - owner[:, None, None, None]
    distance = np.sqrt(np.square(apart).sum(0))
    values = enlarged(maps.heatmap, x, y, maps.heat_ratio) - np.rint(distance)
    return values, y * (maps.ratio * maps.tags.shape[-1]) + x
