"""This file turns numbers of images into samples: the same draw for the same seed, epoch, image."""

import os
import signal
import threading
from collections.abc import Sequence
from typing import NamedTuple

import albumentations as A
import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from torch.utils.data import Dataset

from tagpose.data.annotations import Annotations
from tagpose.data.ignore_regions import transform_boxes
from tagpose.data.image_files import read_annotated_image
from tagpose.data.preprocessing import ScaledInputs, resize_to_scales
from tagpose.data.transforms import TransformedImage, compose_transforms, resize_whole
from tagpose.geometry import compute_input_dimensions, compute_multiscale_dimensions, resize_affine
from tagpose.structures import ImageRecord, Sample


# MERGED: """This file shows the whole images of a data set to a test."""
class SampleKey(NamedTuple):
    """What a sample of training is drawn from."""

    epoch: int  # counts how often the image was shown
    image_index: int  # its number in the annotations


class TrainDataset(Dataset[Sample]):
    """Random views of annotated images.

    Args:
        annotations: to show.
        transforms: of albumentations, in order; one of them must bring every image to one size.
        seed: of all draws, with the epoch and the number of the image.
    """

    def __init__(
        self,
        annotations: Annotations,
        transforms: Sequence[A.BasicTransform],
        *,
        seed: int = 0,
    ) -> None:
        self.annotations, self.seed = annotations, seed
        self.active_transforms = {
            place: one for place, one in enumerate(transforms, 1) if one.p > 0
        }
        self.transform = compose_transforms(list(self.active_transforms.values()))

    def __getitem__(self, draw: SampleKey) -> Sample:
        record = self.annotations.record(draw.image_index)
        self._seed(draw)
        people, kinds = record.keypoints.shape[:2]
        shown = self.transform(
            image=load_record_image(record),
            mask=loss_mask(record),
            keypoints=record.keypoints.reshape(-1, 3),
            affine=np.eye(2, 3),
        )
        keypoints = np.asarray(shown["keypoints"], np.float32)
        view = TransformedImage(
            image=shown["image"],
            # albumentations gives an empty list of keypoints two columns
            keypoints=keypoints.reshape(people, kinds, 3) if people else record.keypoints,
            mask=shown["mask"],
            affine=shown["affine"],
        )
        return make_sample(record, view, self.annotations)

    def __len__(self) -> int:
        return len(self.annotations)

    def _seed(self, draw: SampleKey) -> None:
        """Seed each transform apart: one seed for all would give all of them the same numbers.

        A seed belongs to a place, so that switching one transform on moves no other's draw.
        """
        seeds = np.random.SeedSequence([self.seed, *draw]).generate_state(
            1 + max(self.active_transforms, default=0)
        )
        for place, transform in self.active_transforms.items():
            transform.set_random_seed(int(seeds[place]))


class ValDataset(Dataset[Sample]):
    """Whole images, as the network sees them at test time.

    Args:
        annotations: to show.
        input_size: of the input's shorter side in input pixels.
    """

    def __init__(self, annotations: Annotations, input_size: int) -> None:
        self.annotations, self.input_size = annotations, input_size

    def __getitem__(self, index: int) -> Sample:
        record = self.annotations.record(index)
        size = self.size_of(index)
        affine = resize_affine(record.width, record.height, size)
        view = resize_whole(
            load_record_image(record), record.keypoints, loss_mask(record), affine, size
        )
        return make_sample(record, view, self.annotations)

    def __len__(self) -> int:
        return len(self.annotations)

    def size_of(self, index: int) -> tuple[int, int]:
        """Width, height in input pixels of one image."""
        width, height = self.annotations.sizes[index].tolist()
        return compute_input_dimensions(width, height, self.input_size)


def load_record_image(record: ImageRecord) -> np.ndarray:
    """The image [H, W, 3] of a record.

    Raises:
        ValueError: its size is not what the annotations say.
    """
    return read_annotated_image(record.file, (record.width, record.height))


def loss_mask(record: ImageRecord) -> np.ndarray:
    """Mask [H, W] uint8 in image pixels: 0 in crowds and people without labels, else 1."""
    if not record.ignored:
        return np.ones((record.height, record.width), np.uint8)
    covered = rle.decode(rle.merge(list(record.ignored)))  # column after column, as COCO counts
    return 1 - cv2.transpose(covered.T)


def make_sample(record: ImageRecord, view: TransformedImage, annotations: Annotations) -> Sample:
    """Tensors of a view of one of many; people are padded with zeros, so that samples stack."""
    boxes = transform_boxes(record.unlabelled, view.affine, annotations.skeleton)
    keypoints, unlabelled = (
        np.concatenate(
            [
                some,
                np.zeros(
                    (annotations.max_people_per_image - len(some), *some.shape[1:]), np.float32
                ),
            ]
        )
        for some in (view.keypoints, boxes)
    )
    return Sample(
        image=torch.from_numpy(to_channels_first(view.image)),
        keypoints=torch.from_numpy(keypoints),
        mask=torch.from_numpy(view.mask),
        unlabelled=torch.from_numpy(unlabelled),
        affine=torch.from_numpy(view.affine),
        image_id=torch.from_numpy(np.array(record.image_id)),
    )


def to_channels_first(image: np.ndarray) -> np.ndarray:
    """A picture [H, W, C] as [C, H, W]."""
    channels = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(channels))  # a seventh of the time of numpy's or torch's copy
    return channels


def worker_init(worker: int) -> None:
    """What a worker of a loader starts with: the workers are the parallelism.

    Signals to the whole group are for the first process, which saves; a worker that died of one
    would end the run before. Only a SIGTERM that the first process itself sends ends a worker.
    """
    del worker
    cv2.setNumThreads(0)
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # macOS, where a worker dies of any SIGTERM
        return
    # blocked, so that the thread may ask who sent it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_exit_on_parent_sigterm, args=(os.getppid(),), daemon=True).start()


def _exit_on_parent_sigterm(loader: int) -> None:
    """End this process when the one that made it says so."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != loader:
        pass
    os._exit(128 + signal.SIGTERM)  # what a shell says of a process that a signal ended


class TestTimeDataset(Dataset[ScaledInputs]):
    """The whole images of a data set.

    Args:
        annotations: to show.
        input_size: of the input's shorter side at scale 1, in input pixels.
        scales: of the test; 1 is among them.
    """

    def __init__(self, annotations: Annotations, input_size: int, scales: Sequence[float]) -> None:
        self.annotations, self.input_size, self.scales = annotations, input_size, scales

    def __getitem__(self, index: int) -> ScaledInputs:
        record = self.annotations.record(index)
        return resize_to_scales(
            load_record_image(record), self.input_size, self.scales, record.image_id
        )

    def __len__(self) -> int:
        return len(self.annotations)

    def size_of(self, index: int) -> tuple[int, int]:
        """Width, height at the first scale; images that share them share all."""
        width, height = self.annotations.sizes[index].tolist()
        return compute_multiscale_dimensions(width, height, self.input_size, self.scales)[0]
