"""Preprocessing in the exported bundle, without OpenCV and torch.

Exported bundles contain this module, so it may only import modules that they contain as well.
`data.preprocessing` does the same with OpenCV and for several scales.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagpose.data.input_size import clamp_input_size, compute_input_dimensions
from tagpose.geometry import letterbox_affine, resize_affine


class NetworkInput(NamedTuple):
    """Batch of one image for the exported network."""

    images: np.ndarray  # [1, 3, H, W] uint8 RGB
    affine: np.ndarray  # [2, 3] float64: image pixels -> input pixels


def preprocess(
    image: np.ndarray, input_size: int, static_shape: Sequence[int] | None = None
) -> NetworkInput:
    """Resize an image to the network's input, and pad it with black.

    Args:
        image: [H, W, 3] uint8 RGB.
        input_size: shorter side of the input, in input pixels; unused with a static shape.
        static_shape: height, width of the input of a network with a static shape.

    Raises:
        ValueError: if the aspect ratio of the image is too extreme for an input without a static
            shape.
    """
    height, width = image.shape[:2]
    if static_shape:
        size = static_shape[1], static_shape[0]
        affine = letterbox_affine(width, height, size)
    else:
        input_size = clamp_input_size(width, height, input_size, (1,))
        size = compute_input_dimensions(width, height, input_size)
        affine = resize_affine(width, height, size)
    return NetworkInput(warp_affine(image, affine, size).transpose(2, 0, 1)[None], affine)


def warp_affine(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Warp an image bilinearly with a black border, like cv2.warpAffine of OpenCV 5.

    Without rotation, rows and columns can be interpolated separately.

    Args:
        image: [H, W, 3] uint8.
        affine: [2, 3] from image pixels to pixels of the result, without rotation.
        size: width, height of the result.

    Returns:
        [height, width, 3] uint8.
    """
    (x_scale, _, x_shift), (_, y_scale, y_shift) = affine
    rows = _interpolate(image, 0, size[1], y_scale, y_shift)
    return np.rint(_interpolate(rows, 1, size[0], x_scale, x_shift)).astype(np.uint8)


def _interpolate(
    pixels: np.ndarray, axis: int, length: int, scale: float, shift: float
) -> np.ndarray:
    """Scale and shift pixels [H, W, 3] along one axis to a new length, as float32."""
    position = (np.arange(length) - shift) / scale
    first = np.floor(position).astype(np.int64)
    along = np.arange(3) == axis
    weight = (position - first).astype(np.float32).reshape(np.where(along, -1, 1))
    # positions outside are clipped to a black border of one pixel
    bordered = np.pad(pixels, np.outer(along, (1, 1)))
    near, far = (
        bordered.take(np.clip(first + step, 0, pixels.shape[axis] + 1), axis).astype(np.float32)
        for step in (1, 2)
    )
    return near + weight * (far - near)
