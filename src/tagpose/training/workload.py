"""This file makes work for a device that is measured: batches, fields with people, steps."""

from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tagpose.codec.decode import Decoder
from tagpose.codec.encode import Encoder
from tagpose.data.synthetic.figure import pose
from tagpose.inference.people import people_in_images
from tagpose.inference.predictor import Predictor
from tagpose.official_skeletons import WHOLEBODY
from tagpose.structures import STRIDE, Fields, Sample
from tagpose.training.module import PoseTraining
from tagpose.training.throughput import Work

_ABSENT: Final = 0.25  # share of the keypoints that nobody sees, so that some are filled in
_NOISE: Final = 0.01  # of heatmaps far from people, below any threshold
_GRAIN: Final = 8  # cells from one extreme of that noise to the next


def draw_people(images: int, people: int, rows: int, side: int) -> Tensor:
    """Keypoints [B, P, K, 3] in input pixels: figures anywhere, then absent people up to `rows`."""
    random = np.random.default_rng(0)
    keypoints = np.zeros((images, rows, WHOLEBODY.size, 3), np.float32)
    for image in range(images):
        for person in range(people):
            points = pose(random).points * random.uniform(0.3, 0.8) * side
            keypoints[image, person, :, :2] = points + random.uniform(0.25, 0.75, 2) * side
    seen = random.random((images, people, WHOLEBODY.size)) > _ABSENT
    keypoints[:, :people, :, 2] = 2 * seen
    return torch.from_numpy(keypoints)


def draw_batch(images: int, people: int, rows: int, side: int, device: torch.device) -> Sample:
    """A batch as the loader's would be, on the device already."""
    noise = torch.Generator(device).manual_seed(0)
    size, cells = (images, 3, side, side), (images, side // STRIDE, side // STRIDE)
    shown = torch.randint(0, 256, size, generator=noise, dtype=torch.uint8, device=device)
    return Sample(
        image=shown,
        keypoints=draw_people(images, people, rows, side).to(device),
        unlabelled=torch.zeros(images, rows, len(WHOLEBODY.limbs), 4, device=device),
        mask=torch.ones(cells, dtype=torch.uint8, device=device),
        frame=torch.eye(2, 3, dtype=torch.float64, device=device).repeat(images, 1, 1),
        image_id=torch.arange(images, device=device),
    )


def draw_fields(batch: Sample, people: int) -> Fields:
    """What a trained network says of a batch after the mirror test; those of noise are no measure.

    Heatmaps are the targets over a low, smooth noise; the tags of a person surround its keypoints
    and fade to a flat background.
    """
    heatmaps = Encoder()(batch.keypoints, batch.mask).heatmaps
    tags, weights = torch.zeros_like(heatmaps), torch.full_like(heatmaps, 0.05)
    for person in range(people):  # all at once would take the memory of as many batches
        near = Encoder()(batch.keypoints[:, person : person + 1], batch.mask).heatmaps
        tags += 3.0 * person * near  # far apart, as learned ones are
        weights += near
    tags /= weights
    height, width = heatmaps.shape[-2:]
    coarse = (*heatmaps.shape[:2], height // _GRAIN + 1, width // _GRAIN + 1)
    noise = torch.randn(coarse, generator=torch.Generator().manual_seed(0)).to(heatmaps.device)
    heatmaps += _NOISE * functional.interpolate(noise, (height, width), mode="bicubic")
    return Fields(heatmaps, torch.stack([tags, -tags], dim=1))


def training_work(training: PoseTraining, batch: Sample, *, bf16: bool) -> Work:
    """A step of training, without Lightning's loop around it."""
    optimizer = training.optimizer(training.parameters())

    def work() -> None:
        optimizer.zero_grad()
        with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bf16):
            losses = training.losses(batch, training.network.pyramid(batch.image))
            total = training.criterion.total(losses)
        torch.autograd.backward(total)
        optimizer.step()

    return work


def decoding_work(decoder: Decoder, batch: Sample, people: int) -> Work:
    """From fields with people to these people in image pixels."""
    return partial(people_in_images, draw_fields(batch, people), batch.frame.cpu(), decoder)


def inference_work(predictor: Predictor, batch: Sample, people: int) -> Work:
    """From images to people; fields with people take the place of the network's."""
    decode = decoding_work(predictor.decoder, batch, people)

    def work() -> None:
        predictor.fields((batch.image,))
        decode()

    return work
