"""This file shows an image to the network with numpy alone, as `data` does it with OpenCV.

It goes into exported folders as it stands, so it imports only what goes with it.
"""

from typing import NamedTuple

import numpy as np

from ..geometry import apply, fitting_side, input_size, invert, whole_frame


class View(NamedTuple):
    """One image as the network sees it."""

    image: np.ndarray  # [1, 3, H, W] uint8 RGB
    frame: np.ndarray  # [2, 3] float64: image pixels -> input pixels


def show(image: np.ndarray, side: int) -> View:
    """The whole of an image [H, W, 3] uint8 RGB.

    Args:
        image: in image pixels.
        side: of the input's shorter side, in input pixels.

    Raises:
        ValueError: the image is too narrow to look at.
    """
    height, width = image.shape[:2]
    size = input_size(width, height, fitting_side(width, height, side, (1,)))
    frame = whole_frame(width, height, size)
    return View(warp(image, frame, size).transpose(2, 0, 1)[None], frame)


def in_image(keypoints: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Keypoints [P, K, 3] x, y (input pixels), score; back in image pixels, missing ones 0."""
    places = apply(invert(frame), keypoints[..., :2].astype(np.float64)).astype(np.float32)
    found = np.concatenate([places, keypoints[..., 2:]], axis=-1)
    return np.where(keypoints[..., 2:] > 0, found, np.float32(0))


def warp(image: np.ndarray, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture seen through a frame, bilinear, black outside: cv2.warpAffine of OpenCV 5.

    The frame does not turn the picture, so its rows and its columns are laid one after the other.

    Args:
        image: [H, W, 3] uint8 in image pixels.
        frame: [2, 3] image pixels -> pixels of the result, without rotation.
        size: width, height of the result.
    """
    (across, _, right), (_, down, below) = frame
    rows = _laid(image, 0, size[1], down, below)
    return np.rint(_laid(rows, 1, size[0], across, right)).astype(np.uint8)


def _laid(pixels: np.ndarray, axis: int, length: int, scale: float, shift: float) -> np.ndarray:
    """Pixels [H, W, 3] stretched and shifted along one axis to another length, float32."""
    at = (np.arange(length) - shift) / scale
    first = np.floor(at).astype(np.int64)
    share = (at - first).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    # one black pixel on either side stands for all that is outside
    bordered = np.pad(pixels, [(1, 1) if a == axis else (0, 0) for a in range(3)])
    low, high = (
        bordered.take(np.clip(first + step, 0, pixels.shape[axis] + 1), axis).astype(np.float32)
        for step in (1, 2)
    )
    return low + share * (high - low)
