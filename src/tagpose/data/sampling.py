"""This file says which images are drawn when, and what share of them a process sees."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from tagpose.data.dataset import Draw


class Position(NamedTuple):
    """How far a training is: the batches of an epoch that every process has taken."""

    epoch: int = 0
    batches: int = 0


class ShuffledDraws(Sampler[Draw]):
    """Every image once an epoch in an order that seed and epoch say; each process its batches.

    The order is cut into batches, which the processes take in turns: what the network learns from
    depends neither on how many processes share the batches nor on how many each adds up before a
    step. What fills no whole step is left to the other epochs; where there is not even one,
    images come more than once.

    An epoch belongs to the sampler, not to the loader: `set_epoch` names it.

    Args:
        size: number of images.
        batch: images of a batch.
        repeat: how often an epoch shows each; more than once where there are few.
        seed: of the order.
        rank: of this process.
        processes: that share the images.
        added: batches of each process that make a step.
        start: where to begin; the batches before are left out of its epoch, and of no other.
    """

    def __init__(
        self,
        size: int,
        batch: int,
        *,
        repeat: int = 1,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
        added: int = 1,
        start: Position | None = None,
    ) -> None:
        self.size, self.batch, self.repeat, self.seed = size, batch, repeat, seed
        self.rank, self.processes, self.start = rank, processes, start or Position()
        self.batches = added * max(1, size * repeat // (batch * processes * added))
        self.set_epoch(self.start.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that the next iteration draws; Lightning calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([random.permutation(self.size) for _ in range(self.repeat)])
        taken = self.start.batches if self.epoch == self.start.epoch else 0
        turns = np.arange(self.batches * self.processes * self.batch)
        mine = turns.reshape(self.batches, self.processes, self.batch)[taken:, self.rank].ravel()
        # a repeated image is another draw
        rounds = self.epoch * self.repeat + mine // self.size
        images = order[mine % len(order)]
        return (Draw(int(r), int(i)) for r, i in zip(rounds, images, strict=True))

    def __len__(self) -> int:
        # of a whole epoch, wherever it starts: Lightning counts on from there
        return self.batches * self.batch


class SameSizeBatches(Sampler[list[int]]):
    """Batches of images whose inputs have one size; each process its share, no image twice.

    Where there are fewer images than processes some are guests: they see an image of another's,
    as a process that saw nothing would keep the others waiting, and theirs does not count.

    Args:
        size_of: width, height in input pixels of image number i.
        images: how many there are.
        batch_size: at most.
        rank: of this process.
        processes: that share the images.
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
        alike: dict[tuple[int, int], list[int]] = {}
        for index in range(images):
            alike.setdefault(size_of(index), []).append(index)
        batches = _batches(alike.values(), batch_size)
        if len(batches) < processes:
            batches = _batches(alike.values(), 1)
        self.guest = rank >= len(batches)
        self.batches = batches[:1] if self.guest else batches[rank::processes]

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


def evenly(there: int, wanted: int | None) -> list[int]:
    """Numbers of so many of the images, with equal gaps; of all where no number is wanted."""
    return np.linspace(0, there - 1, min(wanted or there, there)).round().astype(int).tolist()
