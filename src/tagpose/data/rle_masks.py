"""RLE masks: parsing of COCO segmentations, and storage in flat arrays that workers share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

# How far a polygon may extend beyond its image, in units of the image's longer side: pycocotools
# traces the whole polygon, and crashes if it is too long.
_REACH: Final = 4
_COUNTS_FIRST_CHARACTER: Final = 48  # "0"
_COUNTS_MAX_BITS: Final = 30  # bits of a run before its last group: an image has fewer pixels


@dataclass(frozen=True, eq=False)
class PackedMasks(Mapping[int, tuple[dict[str, Any], ...]]):
    """Mapping from image id to the RLE masks of the image, stored in flat arrays.

    Worker processes share the memory of arrays, but not that of Python objects.
    """

    image_ids: np.ndarray  # [M] int64, ascending
    sizes: np.ndarray  # [M, 2] int64: height, width in image pixels
    offsets: np.ndarray  # [M + 1] int64: mask m is runs[offsets[m] : offsets[m + 1]]
    runs: np.ndarray  # [R] uint8: compressed counts in the encoding of pycocotools

    def __getitem__(self, image_id: int) -> tuple[dict[str, Any], ...]:
        first = int(np.searchsorted(self.image_ids, image_id, side="left"))
        last = int(np.searchsorted(self.image_ids, image_id, side="right"))
        if first == last:
            raise KeyError(image_id)
        return tuple(self._mask(index) for index in range(first, last))

    def __iter__(self) -> Iterator[int]:
        return iter(np.unique(self.image_ids).tolist())

    def __len__(self) -> int:
        return len(np.unique(self.image_ids))

    def _mask(self, index: int) -> dict[str, Any]:
        """Return one mask as an RLE object of pycocotools."""
        first, last = self.offsets[index : index + 2]
        return {"size": self.sizes[index].tolist(), "counts": self.runs[first:last].tobytes()}


def pack_masks(image_ids: Sequence[int], masks: Sequence[Mapping[str, Any]]) -> PackedMasks:
    """Pack M compressed RLE masks, sorted by image id; the order within an image is kept."""
    order = np.argsort(np.array(image_ids, np.int64), kind="stable").tolist()
    runs = [masks[index]["counts"] for index in order]
    return PackedMasks(
        image_ids=np.array([image_ids[index] for index in order], np.int64),
        sizes=np.array([masks[index]["size"] for index in order], np.int64).reshape(-1, 2),
        offsets=np.cumsum([0, *map(len, runs)], dtype=np.int64),
        runs=np.frombuffer(b"".join(runs), np.uint8),
    )


def parse_segmentation(
    segmentation: Any, box: list[float], size: tuple[int, int]
) -> dict[str, Any]:
    """Return the compressed RLE of a segmentation, or of the box if there is no segmentation.

    The segmentation is checked first, because pycocotools reads and writes past its memory if it is
    invalid.

    Args:
        segmentation: polygons, uncompressed RLE or compressed RLE.
        box: x, y, width, height in image pixels.
        size: width, height of the image in image pixels.

    Raises:
        ValueError: the segmentation cannot be read; the message gives the reason.
    """
    try:
        if segmentation:
            return _to_rle(segmentation, size)
        x, y, w, h = box
        return _to_rle([[x, y, x + w, y, x + w, y + h, x, y + h]], size)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"has a segmentation that cannot be read: {error}") from error


def decode_counts(counts: str) -> list[int]:
    """Decode the run lengths of a compressed RLE.

    A run consists of groups of 5 bits, lowest first, each stored in a character from "0" on. The
    sixth bit is set if another group follows, and the fifth bit of the last group is the sign. From
    the fourth run on, the difference to the run before the previous one is stored (`rleToString` of
    pycocotools).

    Raises:
        ValueError: the string is not a compressed RLE.
    """
    runs: list[int] = []
    value = shift = 0
    for code in counts.encode("latin-1"):
        bits = code - _COUNTS_FIRST_CHARACTER
        if not 0 <= bits < 64 or shift > _COUNTS_MAX_BITS:
            raise ValueError("its counts are not a compressed RLE of COCO")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its counts end within a run")
    return runs


def segmentation_area(segmentation: Any) -> float:
    """Return the area of polygons or of an uncompressed RLE; 0 for any other value."""
    try:
        if isinstance(segmentation, dict):
            return float(sum(segmentation["counts"][1::2]))
        corners = [np.array(polygon, np.float64).reshape(-1, 2).T for polygon in segmentation]
        areas = [abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 for x, y in corners]
        return float(np.nan_to_num(sum(areas)))
    except (TypeError, ValueError, KeyError, OverflowError):
        return 0.0


def union_mask(masks: Sequence[Mapping[str, object]]) -> np.ndarray:
    """Return the union [H, W] uint8 of RLE masks, in column-major order as in COCO."""
    rle = _coco_masks()
    union: np.ndarray = rle.decode(rle.merge(list(masks)))
    return union


def _coco_masks() -> Any:
    """Return the mask functions of pycocotools, which inference is installed without."""
    from pycocotools import mask

    return mask


def _to_rle(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Return the compressed RLE of polygons, an uncompressed RLE or a compressed RLE."""
    width, height = size
    if isinstance(segmentation, list):
        _check_polygons(segmentation, _REACH * max(size))
        rle = _coco_masks()
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    counts = segmentation["counts"]
    if segmentation["size"] != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, not {[height, width]}")
    runs = counts if isinstance(counts, list) else decode_counts(counts)
    if not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError("its counts are not run lengths")
    if sum(runs) != height * width:
        raise ValueError(f"it covers {sum(runs)} pixels, not {height * width}")
    if isinstance(counts, list):
        return _coco_masks().frPyObjects(segmentation, height, width)
    return {"size": [height, width], "counts": counts.encode()}


def _check_polygons(polygons: list[list[float]], reach: float) -> None:
    """Check that polygons can be drawn.

    Raises:
        ValueError: a polygon has too few points or extends too far beyond the image.
    """
    if not all(len(p) >= 6 and len(p) % 2 == 0 for p in polygons):
        raise ValueError("a polygon needs at least three points of x and y")
    if not all(abs(value) <= reach for p in polygons for value in p):
        raise ValueError("a polygon is far outside the image; check the size of the image")
