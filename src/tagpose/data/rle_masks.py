"""This file lays RLE masks in columns, which workers share as they do not share objects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pycocotools import mask as rle


# MERGED: """Segmentations of COCO as RLE masks, checked before pycocotools reads them."""
@dataclass(frozen=True, eq=False)
class PackedMasks(Mapping[int, tuple[dict[str, Any], ...]]):
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


def pack_masks(image_ids: Sequence[int], masks: Sequence[Mapping[str, Any]]) -> PackedMasks:
    """Columns of M masks, each of the image with its id; within an image the order stays."""
    order = np.argsort(np.array(image_ids, np.int64), kind="stable").tolist()
    runs = [masks[place]["counts"] for place in order]
    return PackedMasks(
        image_ids=np.array([image_ids[place] for place in order], np.int64),
        sizes=np.array([masks[place]["size"] for place in order], np.int64).reshape(-1, 2),
        offsets=np.cumsum([0, *map(len, runs)], dtype=np.int64),
        runs=np.frombuffer(b"".join(runs), np.uint8),
    )


# How far a polygon may leave its image, in sides of it: pycocotools walks along every polygon, and
# crashes where the way is too long.
_REACH: Final = 4
_COUNTS_FIRST_CHARACTER: Final = 48  # "0"
_COUNTS_MAX_BITS: Final = 30  # bits of a run before its last group: an image has fewer pixels


def parse_segmentation(
    segmentation: Any, box: list[float], size: tuple[int, int]
) -> dict[str, Any]:
    """Return the compressed RLE of a segmentation, or of the box where there is none.

    Args:
        segmentation: polygons, runs, or compressed runs.
        box: x, y, width, height in image pixels.
        size: width, height of the image in image pixels.

    Raises:
        ValueError: it cannot be read; the sentence says why.
    """
    try:
        if segmentation:
            return _to_rle(segmentation, size)
        x, y, w, h = box
        return _to_rle([[x, y, x + w, y, x + w, y + h, x, y + h]], size)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"has a segmentation that cannot be read: {error}") from error


def _to_rle(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Compressed RLE of polygons, of runs, or of what is compressed already."""
    width, height = size
    if isinstance(segmentation, list):
        _check_polygons(segmentation, _REACH * max(size))
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    counts = segmentation["counts"]
    if segmentation["size"] != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, not {[height, width]}")
    # the library takes whatever it is told, and reads and writes past its memory
    runs = counts if isinstance(counts, list) else decode_counts(counts)
    if not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError("its runs are not lengths")
    if sum(runs) != height * width:
        raise ValueError(f"it covers {sum(runs)} pixels, not {height * width}")
    if isinstance(counts, list):
        return rle.frPyObjects(segmentation, height, width)
    return {"size": [height, width], "counts": counts.encode()}


def decode_counts(counts: str) -> list[int]:
    """The runs of a mask that COCO has packed into a text.

    A run has groups of 5 bits, the lowest first, each in a character from "0" on; the sixth bit
    says that another follows, the fifth of the last one is the sign. From the fourth run on it is
    the difference to the one before the last (`rleToString` of pycocotools).

    Raises:
        ValueError: the text is none of these.
    """
    runs: list[int] = []
    value = shift = 0
    for code in counts.encode("latin-1"):
        bits = code - _COUNTS_FIRST_CHARACTER
        if not 0 <= bits < 64 or shift > _COUNTS_MAX_BITS:
            raise ValueError("its runs are packed into a text that is none of COCO's")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its runs end within one")
    return runs


def _check_polygons(polygons: list[list[float]], reach: float) -> None:
    """See that polygons can be drawn."""
    if not all(len(p) >= 6 and len(p) % 2 == 0 for p in polygons):
        raise ValueError("a polygon needs three points, x and y each")
    if not all(abs(value) <= reach for p in polygons for value in p):
        raise ValueError("a polygon leaves the image by far; was it made for another size?")
