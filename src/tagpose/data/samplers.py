"""Samplers: a resumable order for training, and batches of equally large inputs for validation."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class SampleKey(NamedTuple):
    """Key of a training sample, which with the seed determines its augmentation."""

    epoch: int  # how often the image has been used before
    image_index: int  # index in the annotations


class EpochPosition(NamedTuple):
    """Progress of a training: an epoch, and the batches of it that each process has finished."""

    epoch: int = 0
    batches: int = 0


class ResumableDistributedSampler(Sampler[SampleKey]):
    """Shuffles images, distributes them over processes, and can resume within an epoch.

    The shuffled images are divided into batches, which are dealt to the processes in turn. So the
    images of an optimizer step depend neither on the number of processes that share its batches nor
    on the number of batches that each process accumulates. Images that do not fill a whole step are
    left out of the epoch; if there are too few for one step, images are repeated.

    The epoch is state of the sampler rather than of the loader, see `set_epoch`.

    Args:
        num_images: number of images.
        batch_size: images per batch.
        repeat: number of times that an epoch includes each image, for small datasets.
        seed: seed of the order.
        rank: rank of this process.
        num_replicas: number of processes.
        accumulate_grad_batches: batches of each process per optimizer step.
        start: position from which to resume; earlier batches of that epoch are skipped.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        *,
        repeat: int = 1,
        seed: int = 0,
        rank: int = 0,
        num_replicas: int = 1,
        accumulate_grad_batches: int = 1,
        start: EpochPosition | None = None,
    ) -> None:
        self.num_images, self.batch_size = num_images, batch_size
        self.repeat, self.seed = repeat, seed
        self.rank, self.num_replicas, self.start = rank, num_replicas, start or EpochPosition()
        step_size = batch_size * num_replicas * accumulate_grad_batches
        self.batches = accumulate_grad_batches * max(1, num_images * repeat // step_size)
        self.set_epoch(self.start.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; called by Lightning."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[SampleKey]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([random.permutation(self.num_images) for _ in range(self.repeat)])
        skipped = self.start.batches if self.epoch == self.start.epoch else 0
        shape = self.batches, self.num_replicas, self.batch_size
        indices = np.arange(np.prod(shape)).reshape(shape)[skipped:, self.rank].ravel()
        # each repetition of an image has a different key, and so a different augmentation
        repetitions = self.epoch * self.repeat + indices // self.num_images
        images = order[indices % len(order)]
        return (SampleKey(int(r), int(i)) for r, i in zip(repetitions, images, strict=True))

    def __len__(self) -> int:
        # of a whole epoch even after resuming: Lightning counts from the resumed batch
        return self.batches * self.batch_size


class SameSizeBatchSampler(Sampler[list[int]]):
    """Batches images whose network inputs have the same size, and distributes the batches.

    No image is used twice, unless there are fewer images than processes. Then the remaining
    processes are padding ranks: they get the first image too, because a process without a batch
    would block the others, and their results must be discarded.

    Args:
        size_of: function that returns width, height of an image's input, in input pixels.
        num_images: number of images.
        batch_size: maximum number of images per batch.
        rank: rank of this process.
        num_replicas: number of processes.
    """

    def __init__(
        self,
        size_of: Callable[[int], tuple[int, int]],
        num_images: int,
        batch_size: int,
        *,
        rank: int = 0,
        num_replicas: int = 1,
    ) -> None:
        by_size: dict[tuple[int, int], list[int]] = {}
        for index in range(num_images):
            by_size.setdefault(size_of(index), []).append(index)
        batches = _split_batches(by_size.values(), batch_size)
        if len(batches) < num_replicas:
            batches = _split_batches(by_size.values(), 1)
        self.is_padding_rank = rank >= len(batches)
        self.batches = batches[:1] if self.is_padding_rank else batches[rank::num_replicas]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _split_batches(groups: Iterable[list[int]], batch_size: int) -> list[list[int]]:
    """Split each group into batches."""
    return [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]


def pick_evenly(total: int, number: int | None) -> list[int]:
    """Return evenly spaced indices of `number` images out of `total`; all indices for None."""
    return np.linspace(0, total - 1, min(number or total, total)).round().astype(int).tolist()
