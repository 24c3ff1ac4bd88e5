"""This file shows a whole image to the network, at one scale or several."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tagpose.data.warping import warp
from tagpose.geometry import input_sizes, whole_frame


class Views(NamedTuple):
    """One image as the network sees it; collated, each tensor gains a leading B."""

    images: tuple[Tensor, ...]  # one per scale [3, H, W] uint8 RGB
    frame: Tensor  # [2, 3] float64: image pixels -> input pixels at scale 1
    image_id: Tensor  # [] int64


def show(image: np.ndarray, side: int, scales: Sequence[float], image_id: int = 0) -> Views:
    """The whole of an image [H, W, 3] uint8 RGB.

    Args:
        image: in image pixels.
        side: of the input's shorter side at scale 1, in input pixels.
        scales: of the test; 1 is among them.
        image_id: handed on.
    """
    height, width = image.shape[:2]
    sizes = input_sizes(width, height, side, scales)
    frames = [whole_frame(width, height, size) for size in sizes]
    shown = [warp(image, *at) for at in zip(frames, sizes, strict=True)]
    return Views(
        images=tuple(torch.from_numpy(one).permute(2, 0, 1) for one in shown),
        frame=torch.from_numpy(frames[list(scales).index(1)]),
        image_id=torch.tensor(image_id),
    )
