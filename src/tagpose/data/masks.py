"""This file lays RLE masks in columns, which workers share as they do not share objects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Masks(Mapping[int, tuple[dict[str, Any], ...]]):
    """The masks of each image that has some, by its id."""

    image_ids: np.ndarray  # [M] int64, never falling
    sizes: np.ndarray  # [M, 2] int64: height, width in image pixels
    offsets: np.ndarray  # [M + 1] int64: mask m is runs[offsets[m] : offsets[m + 1]]
    runs: np.ndarray  # [R] uint8: compressed, as pycocotools has them

    def __getitem__(self, image_id: int) -> tuple[dict[str, Any], ...]:
        first = int(np.searchsorted(self.image_ids, image_id, side="left"))
        last = int(np.searchsorted(self.image_ids, image_id, side="right"))
        if first == last:
            raise KeyError(image_id)
        return tuple(self._mask(place) for place in range(first, last))

    def __iter__(self) -> Iterator[int]:
        return iter(np.unique(self.image_ids).tolist())

    def __len__(self) -> int:
        return len(np.unique(self.image_ids))

    def _mask(self, place: int) -> dict[str, Any]:
        """One mask as pycocotools takes it."""
        first, last = self.offsets[place : place + 2]
        return {"size": self.sizes[place].tolist(), "counts": self.runs[first:last].tobytes()}


def lay_masks(image_ids: Sequence[int], masks: Sequence[Mapping[str, Any]]) -> Masks:
    """Columns of M masks, each of the image with its id; within an image the order stays."""
    order = np.argsort(np.array(image_ids, np.int64), kind="stable").tolist()
    runs = [masks[place]["counts"] for place in order]
    return Masks(
        image_ids=np.array([image_ids[place] for place in order], np.int64),
        sizes=np.array([masks[place]["size"] for place in order], np.int64).reshape(-1, 2),
        offsets=np.cumsum([0, *map(len, runs)], dtype=np.int64),
        runs=np.frombuffer(b"".join(runs), np.uint8),
    )
