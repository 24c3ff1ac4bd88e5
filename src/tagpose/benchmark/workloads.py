"""Benchmark workloads: training steps, inference and decoding of synthetic crowds."""

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

_UNLABELED_FRACTION: Final = 0.25  # of the keypoints
_MAX_DIFFERENT_IMAGES: Final = 8  # per batch
# Heights of people in input pixels, the same as in the training data of the demo.
PERSON_HEIGHTS: Final = (100.0, 190.0)


def make_keypoints(images: int, people: int, max_people: int, input_size: int) -> Tensor:
    """Return random keypoints [B, max_people, K, 3] of `people` people, in input pixels."""
    random = np.random.default_rng(0)
    keypoints = np.zeros((images, max_people, WHOLEBODY.size, 3), np.float32)
    for image in range(images):
        for person in range(people):
            points = random_pose(random).points * random.uniform(0.3, 0.8) * input_size
            keypoints[image, person, :, :2] = points + random.uniform(0.25, 0.75, 2) * input_size
    is_labeled = random.random((images, people, WHOLEBODY.size)) > _UNLABELED_FRACTION
    keypoints[:, :people, :, 2] = 2 * is_labeled
    return torch.from_numpy(keypoints)


def make_batch(
    images: int, people: int, max_people: int, input_size: int, device: torch.device
) -> Sample:
    """Return a batch of random images and keypoints on a device, like that of the data loader."""
    generator = torch.Generator(device).manual_seed(0)
    shape, map_size = (images, 3, input_size, input_size), input_size // STRIDE
    noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8, device=device)
    return Sample(
        image=noise,
        keypoints=make_keypoints(images, people, max_people, input_size).to(device),
        unlabeled=torch.zeros(images, max_people, len(WHOLEBODY.disjoint_parts), 4, device=device),
        mask=torch.ones((images, map_size, map_size), dtype=torch.uint8, device=device),
        affine=torch.eye(2, 3, dtype=torch.float64, device=device).repeat(images, 1, 1),
        image_id=torch.arange(images, device=device),
    )


def compute_crowd_maps(
    predictor: Predictor, images: int, people: int, size: tuple[int, int]
) -> KeypointMaps:
    """Return the outputs of a trained network for synthetic crowds, after the flip test.

    The time of decoding depends on the maps: outputs of trained networks have lower and flatter
    peaks than encoded ground truth, and it takes longer to fill in missing keypoints.

    Args:
        predictor: predictor with a network that was trained on synthetic people.
        images: number of images, of which at most eight differ.
        people: number of people per image.
        size: height and width of the images, which are not resized.

    Returns:
        Outputs on the device of the predictor.
    """
    num_crowds = min(images, _MAX_DIFFERENT_IMAGES)
    random = np.random.default_rng(people)
    crowds = [render_crowd(random, size, people, PERSON_HEIGHTS) for _ in range(num_crowds)]
    batch = torch.from_numpy(np.stack(crowds)).permute(0, 3, 1, 2).contiguous()
    keypoint_maps = predictor.predict_maps([batch])
    crowd_index = torch.arange(images, device=keypoint_maps.tags.device) % num_crowds
    return KeypointMaps(*(maps[crowd_index] for maps in keypoint_maps))


def make_training_work(training: BottomUpPoseModule, batch: Sample, *, bf16: bool) -> Work:
    """Return a training step without the loop of Lightning."""
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
    """Return the decoding of network outputs on a device to poses in image pixels."""
    return partial(decode_batch, keypoint_maps, _identity_affines(keypoint_maps), decoder)


def make_inference_work(predictor: Predictor, images: Tensor, keypoint_maps: KeypointMaps) -> Work:
    """Return the inference from images to poses.

    The outputs of a trained network are decoded instead of those of the predictor. A batch is
    decoded while the network computes the next one, so consecutive calls overlap.
    """
    queue: PendingQueue[None, list[Poses]] = PendingQueue()
    affines = _identity_affines(keypoint_maps)

    def work() -> None:
        predictor.predict_maps((images,))
        for _ in queue.put(None, submit_batch(keypoint_maps, affines, predictor.decoder)):
            pass

    return work


def _identity_affines(keypoint_maps: KeypointMaps) -> Tensor:
    """Return identity affines [B, 2, 3], with which image pixels equal input pixels."""
    return torch.eye(2, 3, dtype=torch.float64).repeat(len(keypoint_maps.tags), 1, 1)
