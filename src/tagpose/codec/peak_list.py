"""The N highest peaks of a heatmap: a sorted list, or a heap as in torch.topk."""

import numpy as np

from tagpose.codec.compilation import ZERO, Float, Int, compilable


@compilable
def has_ties(scores: np.ndarray) -> bool:
    """Return whether two successive scores are equal and above 0."""
    ties = 0
    for n in range(1, len(scores)):
        ties += scores[n] > 0 and scores[n] == scores[n - 1]
    return ties > 0


@compilable
def add_peak(
    scores: np.ndarray,
    positions: np.ndarray,
    score: Float,
    position: Int,
    as_topk: bool,
    heap_ready: bool,
) -> bool:
    """Add a peak to a list or heap, and return whether the heap is ordered.

    torch.topk builds a heap of the first N values of a map, and then replaces its lowest value.
    """
    if not as_topk:
        _insert(scores, positions, score, position)
        return heap_ready
    if position < len(scores):
        scores[position], positions[position] = score, position
        return heap_ready
    if not heap_ready:
        _heapify(scores, positions)
    if score > scores[0]:
        scores[0], positions[0] = score, position
        _sift(scores, positions, ZERO, len(scores))
    return True


@compilable
def sort_heap(scores: np.ndarray, positions: np.ndarray, heap_ready: bool) -> None:
    """Sort a heap by falling score, like std::sort_heap."""
    if not heap_ready:
        _heapify(scores, positions)
    for size in range(len(scores) - 1, 0, -1):
        score, position = scores[0], positions[0]
        scores[0], positions[0] = scores[size], positions[size]
        _sift(scores, positions, ZERO, size)
        scores[size], positions[size] = score, position


@compilable
def _insert(scores: np.ndarray, positions: np.ndarray, score: Float, position: Int) -> None:
    """Insert into a list by falling score, after equal scores; the last entry drops out."""
    at = len(scores) - 1
    if not score > scores[at]:
        return
    while at > 0 and score > scores[at - 1]:
        scores[at], positions[at] = scores[at - 1], positions[at - 1]
        at -= 1
    scores[at], positions[at] = score, position


@compilable
def _heapify(scores: np.ndarray, positions: np.ndarray) -> None:
    """Build a heap with the lowest score first, like std::make_heap."""
    for at in range(len(scores) // 2 - 1, -1, -1):
        _sift(scores, positions, at, len(scores))


@compilable
def _sift(scores: np.ndarray, positions: np.ndarray, at: Int, size: Int) -> None:
    """Move a heap entry down to a leaf, then up to its position, like std::__adjust_heap."""
    top, score, position = at, scores[at], positions[at]
    child = 2 * at + 1
    while child < size:
        if child + 1 < size and not scores[child] < scores[child + 1]:
            child += 1
        scores[at], positions[at] = scores[child], positions[child]
        at, child = child, 2 * child + 1
    while at > top and score < scores[(at - 1) // 2]:
        scores[at], positions[at] = scores[(at - 1) // 2], positions[(at - 1) // 2]
        at = (at - 1) // 2
    scores[at], positions[at] = score, position
