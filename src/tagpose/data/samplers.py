"""This file says which images are drawn when, and what share of them a process sees."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from tagpose.data.datasets import SampleKey


class EpochPosition(NamedTuple):
    """How far a training is: the batches of an epoch that every process has taken."""

    epoch: int = 0
    batches: int = 0


class ResumableDistributedSampler(Sampler[SampleKey]):
    """Every image once an epoch in an order that seed and epoch say; each process its batches.

    The order is cut into batches, which the processes take in turns: what the network learns from
    depends neither on how many processes share the batches nor on how many each adds up before a
    step. What fills no whole step is left to the other epochs; where there is not even one,
    images come more than once.

    An epoch belongs to the sampler, not to the loader: `set_epoch` names it.

    Args:
        num_images: number of images.
        batch_size: images of a batch.
        repeat: how often an epoch shows each; more than once where there are few.
        seed: of the order.
        rank: of this process.
        num_replicas: that share the images.
        accumulate_grad_batches: batches of each process that make a step.
        start: where to begin; the batches before are left out of its epoch, and of no other.
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
        self.num_images, self.batch_size, self.repeat, self.seed = (
            num_images,
            batch_size,
            repeat,
            seed,
        )
        self.rank, self.num_replicas, self.start = rank, num_replicas, start or EpochPosition()
        self.batches = accumulate_grad_batches * max(
            1, num_images * repeat // (batch_size * num_replicas * accumulate_grad_batches)
        )
        self.set_epoch(self.start.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that the next iteration draws; Lightning calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[SampleKey]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([random.permutation(self.num_images) for _ in range(self.repeat)])
        taken = self.start.batches if self.epoch == self.start.epoch else 0
        turns = np.arange(self.batches * self.num_replicas * self.batch_size)
        mine = turns.reshape(self.batches, self.num_replicas, self.batch_size)[
            taken:, self.rank
        ].ravel()
        # a repeated image is another draw
        rounds = self.epoch * self.repeat + mine // self.num_images
        images = order[mine % len(order)]
        return (SampleKey(int(r), int(i)) for r, i in zip(rounds, images, strict=True))

    def __len__(self) -> int:
        # of a whole epoch, wherever it starts: Lightning counts on from there
        return self.batches * self.batch_size


class SameSizeBatchSampler(Sampler[list[int]]):
    """Batches of images whose inputs have one size; each process its share, no image twice.

    Where there are fewer images than processes some are padding ranks: they see an image of another's,
    as a process that saw nothing would keep the others waiting, and theirs does not count.

    Args:
        size_of: width, height in input pixels of image number i.
        num_images: how many there are.
        batch_size: at most.
        rank: of this process.
        num_replicas: that share the images.
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
        alike: dict[tuple[int, int], list[int]] = {}
        for index in range(num_images):
            alike.setdefault(size_of(index), []).append(index)
        batches = _split_batches(alike.values(), batch_size)
        if len(batches) < num_replicas:
            batches = _split_batches(alike.values(), 1)
        self.is_padding_rank = rank >= len(batches)
        self.batches = batches[:1] if self.is_padding_rank else batches[rank::num_replicas]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _split_batches(groups: Iterable[list[int]], batch_size: int) -> list[list[int]]:
    """Groups cut into batches."""
    return [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]


def pick_evenly(total: int, number: int | None) -> list[int]:
    """Numbers of so many of the images, with equal gaps; of all where no number is wanted."""
    return np.linspace(0, total - 1, min(number or total, total)).round().astype(int).tolist()
