"""Preprocessing of images: warping, test-time resizing to one or several scales, normalization."""

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from tagpose.data.images import DecodedImage, full_size_image
from tagpose.data.input_size import compute_multiscale_dimensions
from tagpose.geometry import compose_affines, invert_affine, resize_affine

# RGB statistics of ImageNet in the range 0 to 255, used by all HRNets of timm
IMAGENET_MEAN: Final = (123.675, 116.28, 103.53)
IMAGENET_STD: Final = (58.395, 57.12, 57.375)


class ScaledInputs(NamedTuple):
    """Network inputs of one image; the collate function adds a leading B to each tensor."""

    images: tuple[Tensor, ...]  # one per scale [3, H, W] uint8 RGB
    affine: Tensor  # [2, 3] float64: image pixels -> input pixels at scale 1
    image_id: Tensor  # [] int64


def resize_to_scales(
    image: np.ndarray | DecodedImage, input_size: int, scales: Sequence[float], image_id: int = 0
) -> ScaledInputs:
    """Resize a whole image to the network input of each scale.

    Args:
        image: [H, W, 3] uint8 RGB in image pixels, or an image that may be reduced; the result is
            relative to its full size.
        input_size: shorter side of the input at scale 1, in input pixels.
        scales: test-time scales, which include 1.
        image_id: id to store with the inputs.
    """
    decoded = full_size_image(image) if isinstance(image, np.ndarray) else image
    sizes = compute_multiscale_dimensions(*decoded.size, input_size, scales)
    affines = [resize_affine(*decoded.size, size) for size in sizes]
    from_pixels = invert_affine(decoded.affine)
    inputs = [
        warp_affine(decoded.pixels, compose_affines(affine, from_pixels), size)
        for affine, size in zip(affines, sizes, strict=True)
    ]
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


def to_channels_first(image: np.ndarray) -> np.ndarray:
    """Return an image [H, W, C] as [C, H, W]."""
    channels = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(channels))  # seven times as fast as a copy by numpy or torch
    return channels


def normalize_image(image: Tensor) -> Tensor:
    """Normalize images [B, 3, H, W] uint8 RGB to float32 for the backbone."""
    mean, deviation = _mean_and_std(image.device)
    return (image.float() - mean) / deviation


@cache
def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return IMAGENET_MEAN and IMAGENET_STD [3, 1, 1] on a device.

    They are copied only once, because each copy to a GPU blocks the CPU.
    """
    with torch.inference_mode(False):  # cached tensors must also be usable in training
        mean, deviation = (
            torch.tensor(v, dtype=torch.float32, device=device)[:, None, None]
            for v in (IMAGENET_MEAN, IMAGENET_STD)
        )
        return mean, deviation
