"""Size of the network's input for an image."""

import math
from collections.abc import Sequence
from typing import Final

from tagpose.structures import DEFAULT_INPUT_SIZE

MAX_ASPECT: Final = 16  # aspect ratio above which the input size of an image is reduced

# Divisor of input width and height at test time, as in MMPose; every branch of HRNet needs 32.
SIZE_DIVISOR: Final = 64


def compute_input_dimensions(width: int, height: int, input_size: int) -> tuple[int, int]:
    """Return width, height of the network input at test time, multiples of SIZE_DIVISOR.

    Args:
        width: image width in image pixels.
        height: image height in image pixels.
        input_size: shorter side of the input in input pixels; it is rounded up to a multiple.
    """
    short = math.ceil(input_size / SIZE_DIVISOR) * SIZE_DIVISOR
    long = math.ceil(short * max(width, height) / min(width, height) / SIZE_DIVISOR) * SIZE_DIVISOR
    return (short, long) if width < height else (long, short)


def compute_multiscale_dimensions(
    width: int, height: int, input_size: int, scales: Sequence[float]
) -> list[tuple[int, int]]:
    """Return width, height of the network input at each test scale, in the order of the scales.

    All are derived from the smallest one, so that they are multiples of each other. At a single
    scale of 1 the result is that of `compute_input_dimensions`.
    """
    smallest = min(scales)
    smallest_size = compute_input_dimensions(width, height, round(smallest * input_size))
    # exact for integer ratios of scales; other sizes are truncated, as in MMPose
    factors = [integer_ratio(scale, smallest) or scale / smallest for scale in scales]
    return [(int(smallest_size[0] * f), int(smallest_size[1] * f)) for f in factors]


def clamp_input_size(width: int, height: int, input_size: int, scales: Sequence[float]) -> int:
    """Reduce the input size for very long images.

    The area of the input is limited to MAX_ASPECT times the square of the input size at the largest
    scale, or of DEFAULT_INPUT_SIZE if that is larger.

    Args:
        width: image width in image pixels.
        height: image height in image pixels.
        input_size: shorter side of the input at scale 1 in input pixels.
        scales: test scales.

    Returns:
        The largest size that respects the limit: `input_size` minus a multiple of SIZE_DIVISOR.

    Raises:
        ValueError: if the image is too long even at the smallest size.
    """
    largest = max(range(len(scales)), key=lambda n: scales[n])
    max_area = MAX_ASPECT * max(DEFAULT_INPUT_SIZE, input_size * scales[largest]) ** 2
    for size in range(input_size, 0, -SIZE_DIVISOR):
        dimensions = compute_multiscale_dimensions(width, height, size, scales)
        if math.prod(dimensions[largest]) <= max_area:
            return size
    raise ValueError(f"an image of {width} x {height} pixels is too narrow to process; crop it")


def integer_ratio(scale: float, smallest: float) -> int:
    """Return the ratio of two scales if it is an integer, else 0."""
    ratio = round(scale / smallest)
    return ratio if math.isclose(ratio * smallest, scale) else 0
