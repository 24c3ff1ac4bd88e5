"""This file makes, composes, inverts and applies affine frames [2, 3] between the three spaces.

A frame maps points (x, y, 1). Frames that end in input pixels are made here and nowhere else, so
that an image, its keypoints and its masks cannot disagree.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from tagpose.structures import SIDE, People

MULTIPLE: Final = 64  # sides of an input at test time, so that every branch of the network divides

LONGEST: Final = 16  # times as long as wide, before an image is looked at in less detail


def view_frame(
    centre: tuple[float, float], side: float, angle: float, size: tuple[int, int]
) -> np.ndarray:
    """Frame that shows a turned square of the image in a network input.

    Args:
        centre: of the view, x, y in image pixels; it comes to the middle of the input.
        side: of the view in image pixels; it fills the shorter side of the input.
        angle: of the view in degrees; positive turns the picture counter-clockwise.
        size: width, height in input pixels.

    Returns:
        [2, 3] float64, image pixels -> input pixels.
    """
    scale = min(size) / side
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.c_[turn, np.array(size) / 2 - turn @ np.array(centre)]


def mirror_frame(frame: np.ndarray, width: int) -> np.ndarray:
    """The frame followed by a mirror of the input.

    A mirror maps the pixel index x to width - 1 - x.

    Args:
        frame: [2, 3], image pixels -> input pixels.
        width: of the input in input pixels.

    Returns:
        [2, 3], image pixels -> mirrored input pixels.
    """
    return compose(np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]]), frame)


def scale_frame(frame: np.ndarray, factor: float) -> np.ndarray:
    """The frame followed by a multiplication of coordinates, as from input pixels to cells."""
    return frame * factor


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The frame [2, 3] that does `inner` first, then `outer`."""
    return np.c_[outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]]


def invert(frame: np.ndarray) -> np.ndarray:
    """The frame [2, 3] that leads back."""
    back = np.linalg.inv(frame[:, :2])
    return np.c_[back, -back @ frame[:, 2]]


def apply(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] as the frame sees them."""
    return points @ frame[:, :2].T + frame[:, 2]


def input_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Width, height in input pixels at test time: short side `side`, both multiples of 64.

    Args:
        width: of the image in image pixels.
        height: of the image in image pixels.
        side: of the input's shorter side; rounded up to a multiple.
    """
    short = math.ceil(side / MULTIPLE) * MULTIPLE
    long = math.ceil(short * max(width, height) / min(width, height) / MULTIPLE) * MULTIPLE
    return (short, long) if width < height else (long, short)


def input_sizes(
    width: int, height: int, side: int, scales: Sequence[float]
) -> list[tuple[int, int]]:
    """Width, height in input pixels at several scales of a test, in the order of the scales.

    All follow from the smallest, so that they are multiples of each other; at a single scale of 1
    this is `input_size`.
    """
    smallest = min(scales)
    at_least = input_size(width, height, round(smallest * side))
    # whole numbers at scales that are multiples; others are cut off, as in the established one
    factors = [multiple(scale, smallest) or scale / smallest for scale in scales]
    return [(int(at_least[0] * factor), int(at_least[1] * factor)) for factor in factors]


def fitting_side(width: int, height: int, side: int, scales: Sequence[float]) -> int:
    """The side at which the input of a very long image is no larger than one can be.

    Args:
        width: of the image in image pixels.
        height: of the image in image pixels.
        side: of the input's shorter side at scale 1, in input pixels.
        scales: of the test.

    Returns:
        `side`, or one that is smaller by multiples of 64 until the input has no more than LONGEST
        times the square of `side`, or of the published one where that is larger.

    Raises:
        ValueError: the image is too long even at the smallest side.
    """
    largest, most = max(scales), LONGEST * max(SIDE, side * max(scales)) ** 2

    def area(side: int) -> int:
        return math.prod(input_sizes(width, height, side, scales)[list(scales).index(largest)])

    fitting = next((one for one in range(side, 0, -MULTIPLE) if area(one) <= most), None)
    if fitting is None:
        raise ValueError(f"an image of {width} x {height} pixels is too narrow to look at; cut it")
    return fitting


def multiple(scale: float, smallest: float) -> int:
    """How often one scale holds another; 0 where it is no whole number."""
    whole = round(scale / smallest)
    return whole if math.isclose(whole * smallest, scale) else 0


def whole_frame(width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Frame [2, 3] that shows the whole image in an input of `size` (width, height).

    The centre is rounded to a whole pixel, half to even, as the established implementation does.
    """
    centre = (round(width / 2), round(height / 2))
    return view_frame(centre, min(width, height), 0.0, size)


def move_people(people: People, frame: np.ndarray) -> People:
    """People as a frame [2, 3] sees them, such as back in image pixels by an inverted one."""
    moved = people.keypoints.copy()
    moved[..., :2] = apply(frame, people.keypoints[..., :2].astype(np.float64))
    return people._replace(keypoints=moved)
