"""Conversion of a parsed annotation file to the flat arrays that are cached on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tagpose.data.annotation_table import AnnotationTable
from tagpose.data.coco_file import read_coco_file
from tagpose.data.coco_schema import ImageRow, ReadRules
from tagpose.data.ignore_regions import ignore_boxes, pack_ignored_masks
from tagpose.data.image_files import fill_missing_sizes
from tagpose.data.rle_masks import PackedMasks
from tagpose.skeletons.skeleton import Skeleton

_CHUNK_SIZE: Final = 10_000  # people


class AnnotationArrays(NamedTuple):
    """The N images and T trainable people of an annotation file; each field is an array."""

    warnings: np.ndarray  # [W] str: lines about skipped and repaired rows
    description: np.ndarray  # [] str
    image_ids: np.ndarray  # [N] int64
    files: np.ndarray  # [N] str: file names as in the annotation file
    sizes: np.ndarray  # [N, 2] int64: width, height in image pixels
    keypoints: np.ndarray  # [T, K, 3] float32: x, y in image pixels, v; sorted by image
    ignore_boxes: np.ndarray  # [T, F, 4] float32: possible locations of unlabeled parts
    offsets: np.ndarray  # [N + 1] int64: image i has people offsets[i] to offsets[i + 1]
    mask_image_ids: np.ndarray  # the fields of `PackedMasks`
    mask_sizes: np.ndarray
    mask_offsets: np.ndarray
    mask_runs: np.ndarray

    @property
    def masks(self) -> PackedMasks:
        """RLE masks of the regions that the loss ignores."""
        return PackedMasks(self.mask_image_ids, self.mask_sizes, self.mask_offsets, self.mask_runs)


def build_arrays(
    file: Path, folder: Path, rules: ReadRules, *, only_annotated: bool
) -> AnnotationArrays:
    """Parse an annotation file and convert it to arrays.

    Args:
        file: annotation file.
        folder: image folder, from which missing image sizes are read.
        rules: which values to read.
        only_annotated: whether to drop images without annotations.

    Raises:
        FileNotFoundError: the file, or an image whose size is needed, is missing.
        ValueError: the file has an error; the message names the file and the row.
    """
    content = read_coco_file(file, rules)
    log = content.log
    annotated = set(content.annotations.image_ids.tolist())
    images = {i: row for i, row in content.images.items() if i in annotated or not only_annotated}
    images = fill_missing_sizes(folder, images, log)
    log.raise_error()
    if not images:
        raise ValueError(f"{file} has no image with annotations; check the path of the file")
    masks = pack_ignored_masks(content.annotations, images, log)
    log.raise_error()
    keypoints, boxes, offsets = _pack_people(content.annotations, images, rules.skeleton)
    return AnnotationArrays(
        warnings=np.array(log.warning_lines(), str),
        description=np.array(content.description),
        image_ids=np.array(list(images), np.int64),
        files=np.array([image.file_name for image in images.values()]),
        sizes=np.array([(image.width, image.height) for image in images.values()], np.int64),
        keypoints=keypoints,
        ignore_boxes=boxes,
        offsets=offsets,
        mask_image_ids=masks.image_ids,
        mask_sizes=masks.sizes,
        mask_offsets=masks.offsets,
        mask_runs=masks.runs,
    )


def cache_dependencies(rules: ReadRules) -> dict[str, Any]:
    """Return the rules on which the cached arrays depend."""
    skeleton = rules.skeleton
    return {
        "names": skeleton.keypoints,
        "json_keys": dict(skeleton.json_keys),
        "disjoint_parts": dict(skeleton.disjoint_parts),
        "part_parents": skeleton.part_parents,
        "options": tuple(rules.options),
    }


def _pack_people(
    annotations: AnnotationTable, images: Mapping[int, ImageRow], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort the trainable people by image.

    Args:
        annotations: annotations of a file, with the keypoints of the T trainable ones.
        images: N images, which include those of all annotations.
        skeleton: skeleton of the keypoints.

    Returns:
        Keypoints [T, K, 3], boxes [T, F, 4] and offsets [N + 1], see `AnnotationArrays`.
    """
    image_index = {image_id: n for n, image_id in enumerate(images)}
    image_ids = annotations.image_ids[annotations.trainable].tolist()
    image = np.array([image_index[image_id] for image_id in image_ids], np.int64)  # [T]
    people, boxes = annotations.keypoints, annotations.boxes
    # in chunks, because temporary arrays take several times the memory of the keypoints
    starts = range(0, max(len(people), 1), _CHUNK_SIZE)
    chunks = (slice(start, start + _CHUNK_SIZE) for start in starts)
    ignored = np.concatenate([ignore_boxes(people[at], boxes[at], skeleton) for at in chunks])
    order = np.argsort(image, kind="stable")
    counts = np.bincount(image, minlength=len(images))
    return people[order], ignored[order], np.cumsum([0, *counts])
