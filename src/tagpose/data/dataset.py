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
from tagpose.data.augmentation import View, in_order, show_whole
from tagpose.data.images import read_image
from tagpose.data.unlabelled import seen_boxes
from tagpose.geometry import input_size, whole_frame
from tagpose.structures import Record, Sample


class Draw(NamedTuple):
    """What a sample of training is drawn from."""

    epoch: int  # counts how often the image was shown
    image: int  # its number in the annotations


class TrainingSet(Dataset[Sample]):
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
        self.acting = {place: one for place, one in enumerate(transforms, 1) if one.p > 0}
        self.show = in_order(list(self.acting.values()))

    def __getitem__(self, draw: Draw) -> Sample:
        record = self.annotations.record(draw.image)
        self._seed(draw)
        people, kinds = record.keypoints.shape[:2]
        shown = self.show(
            image=read_record(record),
            mask=counting_mask(record),
            keypoints=record.keypoints.reshape(-1, 3),
            frame=np.eye(2, 3),
        )
        keypoints = np.asarray(shown["keypoints"], np.float32)
        view = View(
            image=shown["image"],
            # albumentations gives an empty list of keypoints two columns
            keypoints=keypoints.reshape(people, kinds, 3) if people else record.keypoints,
            mask=shown["mask"],
            frame=shown["frame"],
        )
        return make_sample(record, view, self.annotations)

    def __len__(self) -> int:
        return len(self.annotations)

    def _seed(self, draw: Draw) -> None:
        """Seed each transform apart: one seed for all would give all of them the same numbers.

        A seed belongs to a place, so that switching one transform on moves no other's draw.
        """
        seeds = np.random.SeedSequence([self.seed, *draw]).generate_state(
            1 + max(self.acting, default=0)
        )
        for place, transform in self.acting.items():
            transform.set_random_seed(int(seeds[place]))


class WholeSet(Dataset[Sample]):
    """Whole images, as the network sees them at test time.

    Args:
        annotations: to show.
        side: of the input's shorter side in input pixels.
    """

    def __init__(self, annotations: Annotations, side: int) -> None:
        self.annotations, self.side = annotations, side

    def __getitem__(self, index: int) -> Sample:
        record = self.annotations.record(index)
        size = self.input_size(index)
        frame = whole_frame(record.width, record.height, size)
        view = show_whole(read_record(record), record.keypoints, counting_mask(record), frame, size)
        return make_sample(record, view, self.annotations)

    def __len__(self) -> int:
        return len(self.annotations)

    def input_size(self, index: int) -> tuple[int, int]:
        """Width, height in input pixels of one image."""
        width, height = self.annotations.sizes[index].tolist()
        return input_size(width, height, self.side)


def read_record(record: Record) -> np.ndarray:
    """The image [H, W, 3] of a record.

    Raises:
        ValueError: its size is not what the annotations say.
    """
    return read_image(record.file, (record.width, record.height))


def counting_mask(record: Record) -> np.ndarray:
    """Mask [H, W] uint8 in image pixels: 0 in crowds and people without labels, else 1."""
    if not record.ignored:
        return np.ones((record.height, record.width), np.uint8)
    covered = rle.decode(rle.merge(list(record.ignored)))  # column after column, as COCO counts
    return 1 - cv2.transpose(covered.T)


def make_sample(record: Record, view: View, of: Annotations) -> Sample:
    """Tensors of a view of one of many; people are padded with zeros, so that samples stack."""
    boxes = seen_boxes(record.unlabelled, view.frame, of.skeleton)
    keypoints, unlabelled = (
        np.concatenate([some, np.zeros((of.most_people - len(some), *some.shape[1:]), np.float32)])
        for some in (view.keypoints, boxes)
    )
    return Sample(
        image=torch.from_numpy(split_channels(view.image)),
        keypoints=torch.from_numpy(keypoints),
        mask=torch.from_numpy(view.mask),
        unlabelled=torch.from_numpy(unlabelled),
        frame=torch.from_numpy(view.frame),
        image_id=torch.from_numpy(np.array(record.image_id)),
    )


def split_channels(image: np.ndarray) -> np.ndarray:
    """A picture [H, W, C] as [C, H, W]."""
    channels = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(channels))  # a seventh of the time of numpy's or torch's copy
    return channels


def single_threaded(worker: int) -> None:
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
    threading.Thread(target=_wait_for_the_end, args=(os.getppid(),), daemon=True).start()


def _wait_for_the_end(loader: int) -> None:
    """End this process when the one that made it says so."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != loader:
        pass
    os._exit(128 + signal.SIGTERM)  # what a shell says of a process that a signal ended
