"""Statistics of a dataset (people, labeled parts, sizes, visibilities).

Annotations with an error are not counted. The sizes of people and parts are those of validation,
whose inputs are whole images; training crops enlarge or reduce them by `RandomAffineCrop`'s `zoom`.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tagpose.data.coco_file import CocoFile
from tagpose.data.input_size import compute_input_dimensions
from tagpose.geometry import keypoint_boxes
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import LARGE_AREA, MEDIUM_AREA

# width (4 sigma) of a target Gaussian with a sigma of 2: one of them covers a whole smaller part
MIN_SIZE: Final = 8.0  # heatmap pixels
PERSON: Final = "person"


class VisibilityCounts(NamedTuple):
    """Numbers of keypoints by v, which may be a fraction for hands and faces."""

    zero: int
    below_one: int  # between 0 and 1
    one: int
    below_two: int  # between 1 and 2
    two: int


class PartStatistics(NamedTuple):
    """Statistics of one part over all people, without crowds."""

    labeled: int  # people with a keypoint of the part that has v > 0
    unlabeled: int  # people without one
    keypoints: int  # keypoints with v > 0
    values: VisibilityCounts


class DatasetStatistics(NamedTuple):
    """Statistics of a dataset."""

    images: int
    empty: int  # images without people; they may have a crowd
    people: int  # without crowds
    crowds: int
    without_keypoints: int  # people without v > 0, which the loss ignores
    small: int  # people with an area below 32 x 32 image pixels
    medium: int  # below 96 x 96
    large: int
    widths: tuple[int, int]  # smallest and largest image width in image pixels, 0 if unknown
    heights: tuple[int, int]
    parts: Mapping[str, PartStatistics]


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


def compute_statistics(coco: CocoFile, skeleton: Skeleton) -> DatasetStatistics:
    """Compute the statistics of an annotation file.

    Args:
        coco: file that was read with all of its keypoints.
        skeleton: skeleton that the file was read with.
    """
    annotations = coco.annotations
    is_person = ~annotations.is_crowd
    labeled = labeled_parts(coco, skeleton)  # [T, parts]
    areas = annotations.areas[is_person]
    sizes = np.array([image[2:] for image in coco.images.values()]).reshape(-1, 2)
    widths, heights = sizes[sizes.all(axis=1)].T
    return DatasetStatistics(
        images=len(coco.images),
        empty=len(coco.images) - len(np.unique(annotations.image_ids[is_person])),
        people=int(is_person.sum()),
        crowds=int(annotations.is_crowd.sum()),
        without_keypoints=int((is_person & ~labeled.any(axis=1)).sum()),
        small=int((areas < MEDIUM_AREA).sum()),
        medium=int(((areas >= MEDIUM_AREA) & (areas < LARGE_AREA)).sum()),
        large=int((areas >= LARGE_AREA).sum()),
        widths=_min_max(widths),
        heights=_min_max(heights),
        parts={
            name: _part_statistics(annotations.keypoints[is_person, part, 2])
            for name, part in skeleton.disjoint_parts.items()
        },
    )


def labeled_parts(coco: CocoFile, skeleton: Skeleton) -> np.ndarray:
    """Return whether each annotation has a labeled keypoint in each part, [T, parts]."""
    v = coco.annotations.keypoints[..., 2]
    return np.stack([(v[:, part] > 0).any(1) for part in skeleton.disjoint_parts.values()], axis=1)


def _min_max(values: np.ndarray) -> tuple[int, int]:
    """Return the smallest and the largest value, or 0 if there is none."""
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def _part_statistics(v: np.ndarray) -> PartStatistics:
    """Compute the statistics of one part from its visibilities [P, n]."""
    labeled = int((v > 0).any(axis=1).sum())
    zero, one, two = (int((v == value).sum()) for value in (0, 1, 2))
    below_one, below_two = (int(((v > low) & (v < low + 1)).sum()) for low in (0, 1))
    return PartStatistics(
        labeled=labeled,
        unlabeled=len(v) - labeled,
        keypoints=int((v > 0).sum()),
        values=VisibilityCounts(zero, below_one, one, below_two, two),
    )


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
