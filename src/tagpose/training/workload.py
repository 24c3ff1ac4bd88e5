"""Work that a benchmark measures: batches, outputs of a trained network, training steps."""

from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.synthetic.figure import pose
from tagpose.data.synthetic.scene import paint_crowd
from tagpose.inference.decoding import PendingQueue, decode_batch, submit_batch
from tagpose.inference.predictor import Predictor
from tagpose.official_skeletons import WHOLEBODY
from tagpose.structures import STRIDE, Fields, People, Sample
from tagpose.training.module import PoseTraining
from tagpose.training.throughput import Work

_ABSENT: Final = 0.25  # share of the keypoints that are not labelled
_CROWDS: Final = 8  # different images of a batch
# Image pixels of people's heights in a crowd: those of the demo's images as its network sees them.
HEIGHTS: Final = (100.0, 190.0)


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


def trained_fields(predictor: Predictor, images: int, people: int, size: tuple[int, int]) -> Fields:
    """Outputs of a trained network for drawn crowds, after the flip test.

    Decoding depends on what is in the maps: on those of trained networks people are weaker and maps
    flatter than on drawn ones, and missing keypoints take longer to find.

    Args:
        predictor: of a network that was trained on drawn people.
        images: of the batch; there are eight different ones.
        people: in an image.
        size: height, width of the images, which are shown as they are.

    Returns:
        On the predictor's device.
    """
    different = min(images, _CROWDS)
    random = np.random.default_rng(people)
    crowds = [paint_crowd(random, size, people, HEIGHTS) for _ in range(different)]
    shown = torch.from_numpy(np.stack(crowds)).permute(0, 3, 1, 2).contiguous()
    fields = predictor.fields([shown])
    again = torch.arange(images, device=fields.tags.device) % different
    return Fields(*(each[again] for each in fields))


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


def decoding_work(decoder: AssociativeEmbeddingDecoder, fields: Fields) -> Work:
    """From outputs on a device to people in image pixels."""
    return partial(decode_batch, fields, _identities(fields), decoder)


def inference_work(predictor: Predictor, images: Tensor, fields: Fields) -> Work:
    """From images to people, with the outputs of a trained network in place of the predictor's.

    A batch is decoded while the network computes the next one, so calls in a row overlap.
    """
    queue: PendingQueue[None, list[People]] = PendingQueue()
    affines = _identities(fields)

    def work() -> None:
        predictor.fields((images,))
        for _ in queue.put(None, submit_batch(fields, affines, predictor.decoder)):
            pass

    return work


def _identities(fields: Fields) -> Tensor:
    """Affines [B, 2, 3] that leave input pixels as they are."""
    return torch.eye(2, 3, dtype=torch.float64).repeat(len(fields.tags), 1, 1)
