"""This file shows a whole image to the network, at one scale or several."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from tagpose.geometry import compute_multiscale_dimensions, resize_affine


# MERGED: """This file lays pictures through affines."""
class ScaledInputs(NamedTuple):
    """One image as the network sees it; collated, each tensor gains a leading B."""

    images: tuple[Tensor, ...]  # one per scale [3, H, W] uint8 RGB
    affine: Tensor  # [2, 3] float64: image pixels -> input pixels at scale 1
    image_id: Tensor  # [] int64


def resize_to_scales(
    image: np.ndarray, input_size: int, scales: Sequence[float], image_id: int = 0
) -> ScaledInputs:
    """The whole of an image [H, W, 3] uint8 RGB.

    Args:
        image: in image pixels.
        input_size: of the input's shorter side at scale 1, in input pixels.
        scales: of the test; 1 is among them.
        image_id: handed on.
    """
    height, width = image.shape[:2]
    sizes = compute_multiscale_dimensions(width, height, input_size, scales)
    affines = [resize_affine(width, height, size) for size in sizes]
    shown = [warp_affine(image, *at) for at in zip(affines, sizes, strict=True)]
    return ScaledInputs(
        images=tuple(torch.from_numpy(one).permute(2, 0, 1) for one in shown),
        affine=torch.from_numpy(affines[list(scales).index(1)]),
        image_id=torch.tensor(image_id),
    )


def warp_affine(
    image: np.ndarray, affine: np.ndarray, size: tuple[int, int], outside: int = 0
) -> np.ndarray:
    """A picture seen through an affine.

    Args:
        image: [H, W] or [H, W, C] in image pixels.
        affine: [2, 3] image pixels -> pixels of the result.
        size: width, height of the result.
        outside: value of what the picture does not reach.
    """
    return cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderValue=outside)
