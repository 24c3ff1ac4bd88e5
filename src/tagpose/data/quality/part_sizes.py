"""Sizes of people and their parts in heatmap pixels, and the input size that they need.

Sizes are those of validation, whose inputs are whole images. Training crops enlarge or reduce them
by `RandomAffineCrop`'s `zoom`.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from rich.table import Table

from tagpose.data.coco_file import CocoFile
from tagpose.geometry import SIZE_DIVISOR, compute_input_dimensions, keypoint_boxes
from tagpose.skeletons.skeleton import Skeleton

# width (4 sigma) of a target Gaussian with a sigma of 2: one of them covers a whole smaller part
MIN_SIZE: Final = 8.0  # heatmap pixels
_MAX_SHARE: Final = 0.25  # of too small instances of a part, above which advice is given
_MIN_REDUCTION: Final = 0.25  # of this share, relative; less is not worth a larger input
_MIN_COUNT: Final = 5  # of too small instances; fewer may be chance
PERSON: Final = "person"


class PartSizes(NamedTuple):
    """Sizes of one part in image pixels, over the N people that have it, without crowds."""

    sizes: np.ndarray  # [N] longer side of the part
    image_sizes: np.ndarray  # [N] shorter side of the person's image

    def in_heatmap(self, input_size: int, stride: int) -> np.ndarray:
        """Return the sizes [N] in heatmap pixels."""
        short_side = min(compute_input_dimensions(1, 1, input_size))
        return self.sizes * (short_side / stride) / self.image_sizes

    def too_small(self, input_size: int, stride: int) -> int:
        """Return the number of sizes below `MIN_SIZE` heatmap pixels."""
        return int((self.in_heatmap(input_size, stride) < MIN_SIZE).sum())


def measure_parts(coco: CocoFile, skeleton: Skeleton) -> dict[str, PartSizes]:
    """Measure people by their boxes, and parts by the boxes around their labeled keypoints.

    People without labeled keypoints and images of unknown size are not counted, and neither are
    parts with a single labeled keypoint.

    Args:
        coco: file that was read with all of its keypoints.
        skeleton: skeleton that the file was read with.

    Returns:
        Sizes by part, `PERSON` first; the left and the right part of a pair have separate entries.
    """
    annotations = coco.annotations
    sides = [coco.images[i][2:] for i in annotations.image_ids.tolist()]
    image_sizes = np.array(sides, np.float64).reshape(-1, 2).min(1)  # [T]
    is_known = annotations.trainable & (image_sizes > 0)
    keypoints = annotations.keypoints[is_known]
    image_sizes = image_sizes[is_known]
    people = annotations.boxes[is_known, 0, 2:].max(1)
    measured = {PERSON: PartSizes(people, image_sizes)}
    for part, at in skeleton.disjoint_parts.items():
        labeled = keypoints[:, at, 2] > 0
        sizes = keypoint_boxes(keypoints[:, at], labeled)[:, 2:].max(1)
        has_size = labeled.sum(1) > 1
        measured[part] = PartSizes(sizes[has_size], image_sizes[has_size])
    return measured


def format_part_sizes(parts: Mapping[str, PartSizes], input_size: int, stride: int) -> Table:
    """Return a table of the sizes in image and heatmap pixels.

    Args:
        parts: sizes by part.
        input_size: shorter side of the input in input pixels.
        stride: input pixels per heatmap pixel.
    """
    table = Table("part", title=f"longer sides at input_size={input_size}, stride={stride}")
    small = f"below {MIN_SIZE:g} heatmap pixels"
    for column in ("count", "median in image pixels", "in heatmap pixels", small):
        table.add_column(column, justify="right")
    for part, sizes in parts.items():
        count, too_small = len(sizes.sizes), sizes.too_small(input_size, stride)
        if not count:
            table.add_row(part, "0", "-", "-", "-")
            continue
        image, heatmap = np.median(sizes.sizes), np.median(sizes.in_heatmap(input_size, stride))
        share = f"{too_small} ({too_small / count:.0%})"
        table.add_row(part, str(count), f"{image:.0f}", f"{heatmap:.1f}", share)
    return table


def advise_input_size(
    parts: Mapping[str, PartSizes], input_size: int, stride: int
) -> Iterator[str]:
    """Yield advice for each part of which many instances are too small.

    Args:
        parts: sizes by part.
        input_size: shorter side of the input in input pixels.
        stride: input pixels per heatmap pixel.
    """
    for part, sizes in parts.items():
        count, too_small = len(sizes.sizes), sizes.too_small(input_size, stride)
        if too_small < max(_MIN_COUNT, _MAX_SHARE * count):
            continue
        problem = (
            f"{part}: {too_small} of {count} are smaller than the target of a single keypoint "
            f"({MIN_SIZE:g} heatmap pixels)"
        )
        larger = _useful_input_size(sizes, input_size, stride)
        if larger is None:
            yield (
                f"{problem}; a larger input_size does not help, because the images have no more "
                "pixels: use images of higher resolution, or expect low AP there"
            )
        else:
            remaining, cost = sizes.too_small(larger, stride), (larger / input_size) ** 2
            yield (
                f"{problem}; input_size={larger} reduces this to {remaining} and takes {cost:.1f} "
                "times the memory and time"
            )


def _useful_input_size(sizes: PartSizes, input_size: int, stride: int) -> int | None:
    """Return the smallest input size at which few instances are too small.

    Inputs larger than most images would show no more detail and are not considered; if all others
    are too small, the largest of them is returned, or None if it hardly helps.
    """
    first = input_size // SIZE_DIVISOR * SIZE_DIVISOR + SIZE_DIVISOR
    largest = int(np.median(sizes.image_sizes))
    candidates = range(first, largest + SIZE_DIVISOR, SIZE_DIVISOR)
    if not candidates:
        return None
    limit = max(_MIN_COUNT, _MAX_SHARE * len(sizes.sizes))
    chosen = next((c for c in candidates if sizes.too_small(c, stride) < limit), candidates[-1])
    too_small = sizes.too_small(input_size, stride)
    return chosen if sizes.too_small(chosen, stride) <= (1 - _MIN_REDUCTION) * too_small else None
