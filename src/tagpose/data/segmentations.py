"""Segmentations of COCO as RLE masks, checked before pycocotools reads them."""

from typing import Any, Final

from pycocotools import mask as rle

# How far a polygon may leave its image, in sides of it: pycocotools walks along every polygon, and
# crashes where the way is too long.
_REACH: Final = 4
_PACKED_FROM: Final = 48  # "0"
_PACKED_LONGEST: Final = 30  # bits of a run before its last group: an image has fewer pixels


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
            return _compressed(segmentation, size)
        x, y, w, h = box
        return _compressed([[x, y, x + w, y, x + w, y + h, x, y + h]], size)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"has a segmentation that cannot be read: {error}") from error


def _compressed(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Compressed RLE of polygons, of runs, or of what is compressed already."""
    width, height = size
    if isinstance(segmentation, list):
        _check_polygons(segmentation, _REACH * max(size))
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    counts = segmentation["counts"]
    if segmentation["size"] != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, not {[height, width]}")
    # the library takes whatever it is told, and reads and writes past its memory
    runs = counts if isinstance(counts, list) else unpacked(counts)
    if not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError("its runs are not lengths")
    if sum(runs) != height * width:
        raise ValueError(f"it covers {sum(runs)} pixels, not {height * width}")
    if isinstance(counts, list):
        return rle.frPyObjects(segmentation, height, width)
    return {"size": [height, width], "counts": counts.encode()}


def unpacked(counts: str) -> list[int]:
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
        bits = code - _PACKED_FROM
        if not 0 <= bits < 64 or shift > _PACKED_LONGEST:
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
