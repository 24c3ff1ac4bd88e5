"""Work that a benchmark measures: batches, outputs of a trained network, training steps."""

from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from tagpose.benchmark.measurement import Work
from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.synthetic.pose import random_pose
from tagpose.data.synthetic.scene import render_crowd
from tagpose.inference.batch_decoding import PendingQueue, decode_batch, submit_batch
from tagpose.inference.predictor import Predictor
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import STRIDE, KeypointMaps, Poses, Sample
from tagpose.training.module import BottomUpPoseModule

_UNLABELLED_FRACTION: Final = 0.25  # share of the keypoints that are not labelled
_MAX_DIFFERENT_IMAGES: Final = 8  # different images of a batch
# Image pixels of people's heights in a crowd: those of the demo's images as its network sees them.
PERSON_HEIGHTS: Final = (100.0, 190.0)


def make_keypoints(images: int, people: int, max_people: int, side: int) -> Tensor:
    """Keypoints [B, P, K, 3] in input pixels: figures anywhere, then absent people up to `max_people`."""
    random = np.random.default_rng(0)
    keypoints = np.zeros((images, max_people, WHOLEBODY.size, 3), np.float32)
    for image in range(images):
        for person in range(people):
            points = random_pose(random).points * random.uniform(0.3, 0.8) * side
            keypoints[image, person, :, :2] = points + random.uniform(0.25, 0.75, 2) * side
    seen = random.random((images, people, WHOLEBODY.size)) > _UNLABELLED_FRACTION
    keypoints[:, :people, :, 2] = 2 * seen
    return torch.from_numpy(keypoints)


def make_batch(
    images: int, people: int, max_people: int, side: int, device: torch.device
) -> Sample:
    """A batch as the loader's would be, on the device already."""
    noise = torch.Generator(device).manual_seed(0)
    size, cells = (images, 3, side, side), (images, side // STRIDE, side // STRIDE)
    shown = torch.randint(0, 256, size, generator=noise, dtype=torch.uint8, device=device)
    return Sample(
        image=shown,
        keypoints=make_keypoints(images, people, max_people, side).to(device),
        unlabelled=torch.zeros(images, max_people, len(WHOLEBODY.disjoint_parts), 4, device=device),
        mask=torch.ones(cells, dtype=torch.uint8, device=device),
        affine=torch.eye(2, 3, dtype=torch.float64, device=device).repeat(images, 1, 1),
        image_id=torch.arange(images, device=device),
    )


def compute_crowd_maps(
    predictor: Predictor, images: int, people: int, size: tuple[int, int]
) -> KeypointMaps:
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
    different = min(images, _MAX_DIFFERENT_IMAGES)
    random = np.random.default_rng(people)
    crowds = [render_crowd(random, size, people, PERSON_HEIGHTS) for _ in range(different)]
    shown = torch.from_numpy(np.stack(crowds)).permute(0, 3, 1, 2).contiguous()
    keypoint_maps = predictor.predict_maps([shown])
    again = torch.arange(images, device=keypoint_maps.tags.device) % different
    return KeypointMaps(*(each[again] for each in keypoint_maps))


def make_training_work(training: BottomUpPoseModule, batch: Sample, *, bf16: bool) -> Work:
    """A step of training, without Lightning's loop around it."""
    optimizer = training.optimizer(training.parameters())

    def work() -> None:
        optimizer.zero_grad()
        with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bf16):
            losses = training.losses(batch, training.network.forward_resolutions(batch.image))
            total = training.criterion.total(losses)
        torch.autograd.backward(total)
        optimizer.step()

    return work


def make_decoding_work(decoder: AssociativeEmbeddingDecoder, keypoint_maps: KeypointMaps) -> Work:
    """From outputs on a device to people in image pixels."""
    return partial(decode_batch, keypoint_maps, _identity_affines(keypoint_maps), decoder)


def make_inference_work(predictor: Predictor, images: Tensor, keypoint_maps: KeypointMaps) -> Work:
    """From images to people, with the outputs of a trained network in place of the predictor's.

    A batch is decoded while the network computes the next one, so calls in a row overlap.
    """
    queue: PendingQueue[None, list[Poses]] = PendingQueue()
    affines = _identity_affines(keypoint_maps)

    def work() -> None:
        predictor.predict_maps((images,))
        for _ in queue.put(None, submit_batch(keypoint_maps, affines, predictor.decoder)):
            pass

    return work


def _identity_affines(keypoint_maps: KeypointMaps) -> Tensor:
    """Affines [B, 2, 3] that leave input pixels as they are."""
    return torch.eye(2, 3, dtype=torch.float64).repeat(len(keypoint_maps.tags), 1, 1)
