"""This file says which images are drawn when, and what share of them a process sees."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from torch.utils.data import Sampler

from tagpose.data.dataset import Draw


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
