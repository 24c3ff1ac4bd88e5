"""This file finds the people of images: network, mirror test, decoding, back to image pixels."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from tagpose.codec.decode import Decoder
from tagpose.codec.views import merge_mirror
from tagpose.data.augmentation import warp
from tagpose.evaluation.predictions import Predictions
from tagpose.geometry import input_size, invert, move_people, whole_frame
from tagpose.model.network import PoseNetwork
from tagpose.structures import Fields, People, Sample


class Shown(NamedTuple):
    """An image as the network sees it."""

    image: np.ndarray  # [H, W, 3] uint8
    frame: np.ndarray  # [2, 3] image pixels -> input pixels


def people_in_images(fields: Fields, frames: Tensor, decoder: Decoder) -> list[People]:
    """The people of a batch in image pixels.

    Args:
        fields: of the batch.
        frames: [B, 2, 3] image pixels -> input pixels.
        decoder: with its thresholds.
    """
    back = [invert(frame) for frame in frames.cpu().numpy()]
    people = decoder(fields)
    return [move_people(p, frame) for p, frame in zip(people, back, strict=True)]


class Predictor:
    """A network with everything around it that turns images into people.

    Args:
        network: of any skeleton.
        side: of the input's shorter side in input pixels.
        mirror: whether the mirrored image is looked at too, and both merged.
        decoder: with its thresholds; by default those of the published results.
        device: to run on; by default an accelerator where there is one.
    """

    def __init__(
        self,
        network: PoseNetwork,
        *,
        side: int = 512,
        mirror: bool = True,
        decoder: Decoder | None = None,
        device: str | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()
        self.side, self.mirror = side, mirror
        self.decoder = decoder or Decoder(network.skeleton.grouping_order)

    def __call__(self, images: Sequence[np.ndarray]) -> list[People]:
        """The people of each image [H, W, 3] uint8 RGB, keypoints in its pixels.

        Images whose inputs have the same size share a pass of the network.
        """
        found: dict[int, People] = {}
        for numbers, shown in _same_sizes(self._show(image) for image in images):
            batch = torch.from_numpy(np.stack([one.image for one in shown]))
            frames = torch.from_numpy(np.stack([one.frame for one in shown]))
            found |= zip(numbers, self.people(batch.permute(0, 3, 1, 2), frames), strict=True)
        return [found[number] for number in range(len(found))]

    def people(self, images: Tensor, frames: Tensor) -> list[People]:
        """The people of a batch that is shown as the network sees it.

        Args:
            images: [B, 3, H, W] uint8 RGB.
            frames: [B, 2, 3] image pixels -> input pixels.

        Returns:
            [B] people in image pixels.
        """
        return people_in_images(self.fields(images), frames, self.decoder)

    @torch.inference_mode()
    def fields(self, images: Tensor) -> Fields:
        """The fields of images [B, 3, H, W] uint8, merged with those of their mirror images."""
        images = images.to(self.device)
        fields = self.network(images)
        if not self.mirror:
            return fields
        return merge_mirror(fields, self.network(images.flip(-1)), self.network.skeleton.mirror)

    def _show(self, image: np.ndarray) -> Shown:
        """The whole of an image [H, W, 3]."""
        height, width = image.shape[:2]
        size = input_size(width, height, self.side)
        frame = whole_frame(width, height, size)
        return Shown(warp(image, frame, size), frame)


def _same_sizes(shown: Iterable[Shown]) -> Iterator[tuple[list[int], list[Shown]]]:
    """Batches of inputs of one size, each with the numbers of its images."""
    alike: dict[tuple[int, ...], list[tuple[int, Shown]]] = {}
    for number, one in enumerate(shown):
        alike.setdefault(one.image.shape, []).append((number, one))
    for group in alike.values():
        numbers, views = zip(*group, strict=True)
        yield list(numbers), list(views)


def find_people(predictor: Predictor, loader: DataLoader[Sample]) -> dict[int, People]:
    """The people of all images of a loader by image id, in image pixels."""
    found = Predictions()
    for batch in tqdm(loader, desc="find people", unit="batch"):
        people = predictor.people(batch.image, batch.frame)
        for image_id, one in zip(batch.image_id.tolist(), people, strict=True):
            found.update(image_id, one)
    return found.compute()
