"""This file finds the peaks of a heatmap with numpy.

It goes into exported folders as it stands, as its neighbours do; `codec` does the same with torch.
"""

import heapq
from functools import reduce
from typing import Final, NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter

from .numpy_maps import AROUND, enlarged, square

_REACH: Final = 2  # input pixels; a peak is the largest value of 5 x 5 (Newell 2017's code)
_ROUNDING: Final = 1e-6  # of float32, relative; what is looked into is never less than it should be


class Maxima(NamedTuple):
    """Local maxima of one enlarged heatmap."""

    x: np.ndarray  # [n] int64, input pixels
    y: np.ndarray  # [n] int64, input pixels
    scores: np.ndarray  # [n] float32

    def some(self, at: np.ndarray) -> "Maxima":
        """Those at places [m]."""
        return Maxima(*(each[at] for each in self))


def best_maxima(heatmap: np.ndarray, ratio: int, count: int, min_score: float) -> Maxima:
    """The best local maxima of a heatmap [h, w] when it is enlarged, by falling score.

    Args:
        heatmap: in cells.
        ratio: input pixels per cell.
        count: how many it may have.
        min_score: what they must be above.
    """
    found = _maxima(heatmap, ratio, min_score)
    best = np.argsort(-found.scores)
    leading = found.scores[best[: count + 1]]
    if (leading[1:] == leading[:-1]).any():
        # which of them is met first depends on all maxima, the lowest among them
        found = _maxima(heatmap, ratio, 0.0)
        best = _as_topk(found, count, ratio * heatmap.shape[1])
        best = best[found.scores[best] > min_score]
    return found.some(best[:count])


def _maxima(heatmap: np.ndarray, ratio: int, min_score: float) -> Maxima:
    """All local maxima above a score, row after row."""
    height, width = (ratio * side for side in heatmap.shape)
    # no pixel is above all cells that it lies between
    high = maximum_filter(heatmap, AROUND) > min_score
    rows, columns = np.nonzero(high & _may_have_peaks(heatmap, ratio))
    x, y = square(columns, rows, ratio, _REACH)
    values = enlarged(heatmap, np.clip(x, 0, width - 1), np.clip(y, 0, height - 1), ratio)
    highest = values  # [n, ratio + 4, ratio + 4], then [n, ratio, ratio]
    for axis in (1, 2):
        shifted = (highest.take(range(step, step + ratio), axis) for step in range(2 * _REACH + 1))
        highest = reduce(np.maximum, shifted)
    own = values[:, _REACH:-_REACH, _REACH:-_REACH]
    cell, down, across = np.nonzero((own == highest) & (own > min_score))
    x, y = columns[cell] * ratio + across, rows[cell] * ratio + down
    return Maxima(x, y, own[cell, down, across]).some(np.lexsort((x, y)))


def _may_have_peaks(heatmap: np.ndarray, ratio: int) -> np.ndarray:
    """Whether cells [h, w] may have a peak among their pixels.

    Between two cells' middles values rise or fall evenly, so where a pixel is the largest around,
    one that is nearest to its cell's middle is too, and is not below those beside it.
    """
    nearest = np.float32((ratio // 2 + 0.5) / ratio - 0.5)  # of a pixel to the middle, in cells
    around = np.pad(heatmap, 1, mode="edge")
    rise = np.minimum(_rise(around, nearest), _rise(around.T, nearest).T)
    return rise >= -_ROUNDING * np.abs(heatmap)


def _rise(around: np.ndarray, nearest: np.float32) -> np.ndarray:
    """How far cells [h, w] are above those left and right, in the better one of two mixed rows.

    Args:
        around: [h + 2, w + 2], with one cell more on every side.
        nearest: how much of the row above, or below, is in the mixture.
    """
    rows = around[1:-1]
    mixed = [rows + nearest * (beside - rows) for beside in (around[:-2], around[2:])]
    rises = [row[:, 1:-1] - np.maximum(row[:, :-2], row[:, 2:]) for row in mixed]
    return np.maximum(*rises)


class _Scored(NamedTuple):
    """One of the maxima, or a pixel that is none; of equal scores none is less."""

    score: float
    number: int  # of the maxima, -1 for none

    def __lt__(self, other: tuple[float, ...]) -> bool:
        return self.score < other[0]


def _as_topk(maxima: Maxima, count: int, width: int) -> np.ndarray:
    """Numbers of the best in the order of torch's topk over the whole enlarged heatmap, on a CPU.

    It keeps a heap, begun with the first values of the map, and takes in those larger than its
    smallest; Python's heaps sift as those of C++ do. Pixels at a border are equal in pairs, and
    which of two comes first decides whose it is.
    """
    places = (maxima.y * width + maxima.x).tolist()
    scored = [_Scored(score, number) for number, score in enumerate(maxima.scores.tolist())]
    heap = [_Scored(0.0, -1)] * count
    early = sum(place < count for place in places)
    for place, one in zip(places[:early], scored[:early], strict=True):
        heap[place] = one
    heapq.heapify(heap)
    for one in scored[early:]:
        if heap[0] < one:
            heapq.heapreplace(heap, one)
    rising = [heapq.heappop(heap).number for _ in range(count)]
    return np.array([number for number in reversed(rising) if number >= 0], np.int64)
