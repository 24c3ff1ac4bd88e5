"""Test-time preprocessing: resizing of a whole image to one or several scales."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from tagpose.geometry import compute_multiscale_dimensions, resize_affine


class ScaledInputs(NamedTuple):
    """Network inputs of one image; the collate function adds a leading B to each tensor."""

    images: tuple[Tensor, ...]  # one per scale [3, H, W] uint8 RGB
    affine: Tensor  # [2, 3] float64: image pixels -> input pixels at scale 1
    image_id: Tensor  # [] int64


def resize_to_scales(
    image: np.ndarray, input_size: int, scales: Sequence[float], image_id: int = 0
) -> ScaledInputs:
    """Resize a whole image to the network input of each scale.

    Args:
        image: [H, W, 3] uint8 RGB in image pixels.
        input_size: shorter side of the input at scale 1, in input pixels.
        scales: test-time scales, which include 1.
        image_id: id to store with the inputs.
    """
    height, width = image.shape[:2]
    sizes = compute_multiscale_dimensions(width, height, input_size, scales)
    affines = [resize_affine(width, height, size) for size in sizes]
    inputs = [warp_affine(image, *at) for at in zip(affines, sizes, strict=True)]
    return ScaledInputs(
        images=tuple(torch.from_numpy(scaled).permute(2, 0, 1) for scaled in inputs),
        affine=torch.from_numpy(affines[list(scales).index(1)]),
        image_id=torch.tensor(image_id),
    )


def warp_affine(
    image: np.ndarray, affine: np.ndarray, size: tuple[int, int], outside: int = 0
) -> np.ndarray:
    """Warp an image bilinearly.

    Args:
        image: [H, W] or [H, W, C] in image pixels.
        affine: [2, 3] image pixels -> pixels of the result.
        size: width, height of the result.
        outside: value of pixels outside the image.
    """
    return cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderValue=outside)
