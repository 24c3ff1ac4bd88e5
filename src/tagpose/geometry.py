"""This file makes, composes, inverts and applies affines [2, 3] between the three spaces.

An affine maps points (x, y, 1). Affines that end in input pixels are made here and nowhere else, so
that an image, its keypoints and its masks cannot disagree.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from tagpose.structures import DEFAULT_INPUT_SIZE, Poses

SIZE_DIVISOR: Final = (
    64  # sides of an input at test time, so that every branch of the network divides
)

MAX_ASPECT: Final = 16  # times as long as wide, before an image is looked at in less detail


def crop_affine(
    center: tuple[float, float], crop_size: float, angle: float, size: tuple[int, int]
) -> np.ndarray:
    """Affine that shows a turned square of the image in a network input.

    Args:
        center: of the view, x, y in image pixels; it comes to the middle of the input.
        crop_size: of the view in image pixels; it fills the shorter side of the input.
        angle: of the view in degrees; positive turns the picture counter-clockwise.
        size: width, height in input pixels.

    Returns:
        [2, 3] float64, image pixels -> input pixels.
    """
    scale = min(size) / crop_size
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.c_[turn, np.array(size) / 2 - turn @ np.array(center)]


def flip_affine(affine: np.ndarray, width: int) -> np.ndarray:
    """The affine followed by a mirror of the input.

    A mirror maps the pixel index x to width - 1 - x.

    Args:
        affine: [2, 3], image pixels -> input pixels.
        width: of the input in input pixels.

    Returns:
        [2, 3], image pixels -> flipped input pixels.
    """
    return compose_affines(np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]]), affine)


def scale_affine(affine: np.ndarray, factor: float) -> np.ndarray:
    """The affine followed by a multiplication of coordinates, as from input pixels to heatmap pixels."""
    return affine * factor


def compose_affines(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The affine [2, 3] that does `inner` first, then `outer`."""
    return np.c_[outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]]


def invert_affine(affine: np.ndarray) -> np.ndarray:
    """The affine [2, 3] that leads back."""
    back = np.linalg.inv(affine[:, :2])
    return np.c_[back, -back @ affine[:, 2]]


def transform_points(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] as the affine sees them."""
    return points @ affine[:, :2].T + affine[:, 2]


def compute_input_dimensions(width: int, height: int, input_size: int) -> tuple[int, int]:
    """Width, height in input pixels at test time: short side `input_size`, both multiples of 64.

    Args:
        width: of the image in image pixels.
        height: of the image in image pixels.
        input_size: of the input's shorter side; rounded up to a multiple.
    """
    short = math.ceil(input_size / SIZE_DIVISOR) * SIZE_DIVISOR
    long = math.ceil(short * max(width, height) / min(width, height) / SIZE_DIVISOR) * SIZE_DIVISOR
    return (short, long) if width < height else (long, short)


def compute_multiscale_dimensions(
    width: int, height: int, input_size: int, scales: Sequence[float]
) -> list[tuple[int, int]]:
    """Width, height in input pixels at several scales of a test, in the order of the scales.

    All follow from the smallest, so that they are multiples of each other; at a single scale of 1
    this is `compute_input_dimensions`.
    """
    smallest = min(scales)
    at_least = compute_input_dimensions(width, height, round(smallest * input_size))
    # whole numbers at scales that are multiples; others are cut off, as in the established one
    factors = [integer_ratio(scale, smallest) or scale / smallest for scale in scales]
    return [(int(at_least[0] * factor), int(at_least[1] * factor)) for factor in factors]


def clamp_input_size(width: int, height: int, input_size: int, scales: Sequence[float]) -> int:
    """The side at which the input of a very long image is no larger than one can be.

    Args:
        width: of the image in image pixels.
        height: of the image in image pixels.
        input_size: of the input's shorter side at scale 1, in input pixels.
        scales: of the test.

    Returns:
        `input_size`, or one that is smaller by multiples of 64 until the input has no more than MAX_ASPECT
        times the square of `input_size`, or of the published one where that is larger.

    Raises:
        ValueError: the image is too long even at the smallest side.
    """
    largest, most = max(scales), MAX_ASPECT * max(DEFAULT_INPUT_SIZE, input_size * max(scales)) ** 2

    def area(input_size: int) -> int:
        return math.prod(
            compute_multiscale_dimensions(width, height, input_size, scales)[
                list(scales).index(largest)
            ]
        )

    fitting = next((one for one in range(input_size, 0, -SIZE_DIVISOR) if area(one) <= most), None)
    if fitting is None:
        raise ValueError(f"an image of {width} x {height} pixels is too narrow to look at; cut it")
    return fitting


def integer_ratio(scale: float, smallest: float) -> int:
    """How often one scale holds another; 0 where it is no whole number."""
    whole = round(scale / smallest)
    return whole if math.isclose(whole * smallest, scale) else 0


def resize_affine(width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Affine [2, 3] that shows the whole image in an input of `size` (width, height).

    The centre is rounded to a whole pixel, half to even, as the established implementation does.
    """
    center = (round(width / 2), round(height / 2))
    return crop_affine(center, min(width, height), 0.0, size)


def transform_poses(people: Poses, affine: np.ndarray) -> Poses:
    """Poses as an affine [2, 3] sees them, such as back in image pixels by an inverted one."""
    moved = people.keypoints.copy()
    moved[..., :2] = transform_points(affine, people.keypoints[..., :2].astype(np.float64))
    return people._replace(keypoints=moved)
