"""This file shows whole images to a test, at one scale or several."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tagpose.data.annotations import Annotations
from tagpose.data.augmentation import warp
from tagpose.data.dataset import read_record
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


class ViewSet(Dataset[Views]):
    """The whole images of a data set.

    Args:
        annotations: to show.
        side: of the input's shorter side at scale 1, in input pixels.
        scales: of the test; 1 is among them.
    """

    def __init__(self, annotations: Annotations, side: int, scales: Sequence[float]) -> None:
        self.annotations, self.side, self.scales = annotations, side, scales

    def __getitem__(self, index: int) -> Views:
        record = self.annotations.record(index)
        return show(read_record(record), self.side, self.scales, record.image_id)

    def __len__(self) -> int:
        return len(self.annotations)

    def size(self, index: int) -> tuple[int, int]:
        """Width, height at the first scale; images that share them share all."""
        width, height = self.annotations.sizes[index].tolist()
        return input_sizes(width, height, self.side, self.scales)[0]
