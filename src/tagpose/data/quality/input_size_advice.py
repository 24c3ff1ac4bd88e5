"""Advice on the input size that a dataset needs."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from tagpose.data.input_size import SIZE_DIVISOR
from tagpose.data.quality.dataset_statistics import MIN_SIZE, PartSizes

_MAX_SHARE: Final = 0.25  # of too small instances of a part, above which advice is given
_MIN_REDUCTION: Final = 0.25  # of this share, relative; less is not worth a larger input
_MIN_COUNT: Final = 5  # of too small instances; fewer may be chance


def advise_input_size(
    parts: Mapping[str, PartSizes], input_size: int, stride: int
) -> Iterator[str]:
    """Yield advice for each part of which many instances are too small.

    Args:
        parts: sizes by part.
        input_size: shorter side of the input in input pixels.
        stride: input pixels per heatmap pixel.
    """
    for part, sizes in parts.items():
        count, too_small = len(sizes.sizes), sizes.too_small(input_size, stride)
        if too_small < max(_MIN_COUNT, _MAX_SHARE * count):
            continue
        problem = (
            f"{part}: {too_small} of {count} are smaller than the target of a single keypoint "
            f"({MIN_SIZE:g} heatmap pixels)"
        )
        larger = _useful_input_size(sizes, input_size, stride)
        if larger is None:
            yield (
                f"{problem}; a larger input_size does not help, because the images have no more "
                "pixels: use images of higher resolution, or expect low AP there"
            )
        else:
            remaining, cost = sizes.too_small(larger, stride), (larger / input_size) ** 2
            yield (
                f"{problem}; input_size={larger} reduces this to {remaining} and takes {cost:.1f} "
                "times the memory and time"
            )


def _useful_input_size(sizes: PartSizes, input_size: int, stride: int) -> int | None:
    """Return the smallest input size at which few instances are too small.

    Inputs larger than most images would show no more detail and are not considered; if all others
    are too small, the largest of them is returned, or None if it hardly helps.
    """
    first = input_size // SIZE_DIVISOR * SIZE_DIVISOR + SIZE_DIVISOR
    largest = int(np.median(sizes.image_sizes))
    candidates = range(first, largest + SIZE_DIVISOR, SIZE_DIVISOR)
    if not candidates:
        return None
    limit = max(_MIN_COUNT, _MAX_SHARE * len(sizes.sizes))
    chosen = next((c for c in candidates if sizes.too_small(c, stride) < limit), candidates[-1])
    too_small = sizes.too_small(input_size, stride)
    return chosen if sizes.too_small(chosen, stride) <= (1 - _MIN_REDUCTION) * too_small else None
