"""This file turns numbers of images into samples: the same draw for the same seed, epoch, image."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import albumentations as A
import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from torch.utils.data import Dataset, Sampler

from tagpose.data.annotations import Annotations
from tagpose.data.augmentation import View, show_whole
from tagpose.data.images import read_image
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
        self.compose = A.Compose(
            list(transforms), keypoint_params=A.KeypointParams(format="xy", remove_invisible=False)
        )

    def __getitem__(self, draw: Draw) -> Sample:
        record = self.annotations.record(draw.image)
        self._seed(draw)
        people, kinds = record.keypoints.shape[:2]
        shown = self.compose(
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
        return make_sample(record, view, self.annotations.most_people)

    def __len__(self) -> int:
        return len(self.annotations)

    def _seed(self, draw: Draw) -> None:
        """Seed each transform apart: one seed for all would give all of them the same numbers."""
        seeds = np.random.SeedSequence([self.seed, *draw]).generate_state(
            1 + len(self.compose.transforms)
        )
        self.compose.set_random_seed(int(seeds[0]))
        for transform, seed in zip(self.compose.transforms, seeds[1:], strict=True):
            transform.set_random_seed(int(seed))


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
        return make_sample(record, view, self.annotations.most_people)

    def __len__(self) -> int:
        return len(self.annotations)

    def input_size(self, index: int) -> tuple[int, int]:
        """Width, height in input pixels of one image."""
        width, height = self.annotations.sizes[index].tolist()
        return input_size(width, height, self.side)


class ShuffledDraws(Sampler[Draw]):
    """Every image once an epoch in an order that seed and epoch say; each process its share.

    An epoch belongs to the sampler, not to the loader: `set_epoch` names it. The order is padded
    from its own start so that all processes take the same number of steps.

    Args:
        size: number of images.
        repeat: how often an epoch shows each; more than once where there are few.
        seed: of the order.
        rank: of this process.
        processes: that share the images.
    """

    def __init__(
        self, size: int, *, repeat: int = 1, seed: int = 0, rank: int = 0, processes: int = 1
    ) -> None:
        self.size, self.repeat, self.seed = size, repeat, seed
        self.rank, self.processes = rank, processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that the next iteration draws; Lightning calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([random.permutation(self.size) for _ in range(self.repeat)])
        padded = np.resize(order, len(self) * self.processes)[self.rank :: self.processes]
        # a repeated image is another draw
        first = self.epoch * self.repeat
        rounds = np.arange(self.rank, len(self) * self.processes, self.processes) // self.size
        return (Draw(first + int(r), int(i)) for r, i in zip(rounds, padded, strict=True))

    def __len__(self) -> int:
        return -(-self.size * self.repeat // self.processes)


class SameSizeBatches(Sampler[list[int]]):
    """Batches of images whose inputs have one size; each process its share, no image twice.

    Args:
        size_of: width, height in input pixels of image number i.
        images: how many there are.
        batch_size: at most.
        rank: of this process.
        processes: that share the images.

    Raises:
        ValueError: there are fewer images than processes.
    """

    def __init__(
        self,
        size_of: Callable[[int], tuple[int, int]],
        images: int,
        batch_size: int,
        *,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if images < processes:
            raise ValueError(
                f"{images} images cannot be shared by {processes} processes; take fewer"
            )
        alike: dict[tuple[int, int], list[int]] = {}
        for index in range(images):
            alike.setdefault(size_of(index), []).append(index)
        batches = _batches(alike.values(), batch_size)
        if len(batches) < processes:  # every process must see something, or the others wait for it
            batches = _batches(alike.values(), 1)
        self.batches = batches[rank::processes]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _batches(groups: Iterable[list[int]], batch_size: int) -> list[list[int]]:
    """Groups cut into batches."""
    return [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]


def read_record(record: Record) -> np.ndarray:
    """The image [H, W, 3] of a record.

    Raises:
        ValueError: its size is not what the annotations say.
    """
    image = read_image(record.file)
    if image.shape[:2] != (record.height, record.width):
        raise ValueError(
            f"{record.file} is {image.shape[1]} x {image.shape[0]} pixels, its annotation says "
            f"{record.width} x {record.height}; was it resized or rotated?"
        )
    return image


def counting_mask(record: Record) -> np.ndarray:
    """Mask [H, W] uint8 in image pixels: 0 in crowds and people without labels, else 1."""
    mask = np.ones((record.height, record.width), np.uint8)
    for ignored in record.ignored:
        mask[rle.decode(ignored).astype(bool)] = 0
    return mask


def make_sample(record: Record, view: View, rows: int) -> Sample:
    """Tensors of a view; people are padded to `rows` with zeros, so that samples stack."""
    keypoints = torch.zeros(rows, *view.keypoints.shape[1:])
    keypoints[: len(view.keypoints)] = torch.from_numpy(view.keypoints)
    return Sample(
        image=torch.from_numpy(np.ascontiguousarray(view.image.transpose(2, 0, 1))),
        keypoints=keypoints,
        mask=torch.from_numpy(view.mask),
        frame=torch.from_numpy(view.frame),
        image_id=torch.tensor(record.image_id),
    )


def single_threaded(worker: int) -> None:
    """What a worker of a loader starts with: the workers are the parallelism."""
    del worker
    cv2.setNumThreads(0)
