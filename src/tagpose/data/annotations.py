"""Annotations of a dataset, parsed once to flat arrays and then mapped from a cache."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tagpose.data.annotation_table import AnnotationTable
from tagpose.data.array_cache import load_or_build, mmap_arrays
from tagpose.data.coco_file import check_annotation_file, read_coco_file
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ImageRow, ReadOptions, ReadRules
from tagpose.data.ignore_regions import ignore_boxes, pack_ignored_masks
from tagpose.data.image_files import fill_missing_sizes, locate_all_images
from tagpose.data.images import read_annotated_image
from tagpose.data.issues import IssueLog, IssueType, emit_warnings
from tagpose.data.rle_masks import PackedMasks
from tagpose.skeletons.skeleton import Skeleton

_CHUNK_SIZE: Final = 10_000  # people


class ImageRecord(NamedTuple):
    """One annotated image of a dataset."""

    image_id: int
    file: Path
    width: int  # image pixels
    height: int  # image pixels
    keypoints: np.ndarray  # [P, K, 3] float32: x, y in image pixels, v > 0 if labeled
    ignored: tuple[dict[str, object], ...]  # RLE masks of crowds and of people without keypoints
    # [P, F, 4] float32: left, top, right, bottom in image pixels of the region that may contain an
    # unlabeled part of a person; 0 if the part has labels
    unlabeled: np.ndarray


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


@dataclass(frozen=True)
class Annotations:
    """Images and people of a dataset, as arrays that are mapped from a cache.

    Processes share the memory of the cache, so pickling transfers only its path.
    """

    description: str  # of the annotation file
    folder: Path  # of the images
    skeleton: Skeleton
    image_ids: np.ndarray  # [N] int64
    files: np.ndarray  # [N] str: paths relative to the folder
    sizes: np.ndarray  # [N, 2] int64: width, height in image pixels
    keypoints: np.ndarray  # [T, K, 3] float32: x, y in image pixels, v; people sorted by image
    unlabeled: np.ndarray  # [T, F, 4] float32: possible locations of unlabeled parts
    offsets: np.ndarray  # [N + 1] int64: image i has people offsets[i] to offsets[i + 1]
    ignored: PackedMasks  # image id -> RLE masks
    cache_file: Path | None = None  # None if the arrays are in memory only
    relocated: bool = False  # whether `files` differs from the cache

    @classmethod
    def from_arrays(
        cls, arrays: AnnotationArrays, folder: Path, skeleton: Skeleton, cache_file: Path | None
    ) -> "Annotations":
        """Create annotations from the arrays of `build_arrays`."""
        return cls(
            description=str(arrays.description),
            folder=folder,
            skeleton=skeleton,
            image_ids=arrays.image_ids,
            files=arrays.files,
            sizes=arrays.sizes,
            keypoints=arrays.keypoints,
            unlabeled=arrays.ignore_boxes,
            offsets=arrays.offsets,
            ignored=arrays.masks,
            cache_file=cache_file,
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getstate__(self) -> dict[str, Any]:
        """Return the path of the cache instead of the arrays, so that pickles stay small."""
        if self.cache_file is None:
            return dict(vars(self))
        names = ("cache_file", "folder", "skeleton", *(["relocated", "files"] * self.relocated))
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        file = state["cache_file"]
        if file is not None:
            # the process that pickled them has verified the checksum
            arrays = AnnotationArrays(*mmap_arrays(file, check=False))
            mapped = Annotations.from_arrays(arrays, state["folder"], state["skeleton"], file)
            state = vars(mapped) | state
        vars(self).update(state)

    @cached_property
    def max_people_per_image(self) -> int:
        """Largest number of trainable people in an image."""
        return int(np.diff(self.offsets).max(initial=0))

    def record(self, index: int) -> ImageRecord:
        """Return the annotations of one image."""
        image_id = int(self.image_ids[index])
        width, height = self.sizes[index].tolist()
        first, last = self.offsets[index : index + 2]
        return ImageRecord(
            image_id=image_id,
            file=self.folder / str(self.files[index]),
            width=width,
            height=height,
            keypoints=self.keypoints[first:last].copy(),  # torch warns about read-only arrays
            ignored=self.ignored.get(image_id, ()),
            unlabeled=self.unlabeled[first:last],
        )


def read_annotations(
    file: Path,
    folder: Path,
    skeleton: Skeleton,
    *,
    only_annotated: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Annotations:
    """Read an annotation file in the format of COCO or COCO-WholeBody.

    People with a labeled keypoint are training targets; crowds and all other people become masks
    that the loss ignores. The parsed file is cached, see `load_or_build`, but each call checks that
    the images exist. Skipped and repaired rows are reported by one warning per `IssueType`.

    Args:
        file: annotation file (JSON).
        folder: image folder.
        skeleton: keypoints to read; its parts determine the names of the JSON fields.
        only_annotated: whether to drop images without annotations, as in training.
        options: user options for reading.

    Raises:
        FileNotFoundError: the file or an image is missing.
        ValueError: the file has an error; the message names the file and the row.
    """
    check_annotation_file(file)
    variant = skeleton.name + ("-annotated" if only_annotated else "")
    rules = ReadRules(skeleton, options, with_areas=False)
    build = partial(build_arrays, file, folder, rules, only_annotated=only_annotated)
    cached = load_or_build(file, variant, cache_dependencies(rules), build)
    arrays = AnnotationArrays(*cached.arrays)
    emit_warnings(arrays.warnings.tolist())
    annotations = Annotations.from_arrays(arrays, folder, skeleton, cached.path)
    names = arrays.files.tolist()
    files = locate_all_images(folder, names, arrays.image_ids.tolist(), file)
    if files == names:
        return annotations
    return replace(annotations, files=np.array(files), relocated=True)


def check_labeled(annotations: Annotations, file: Path) -> None:
    """Check that at least one keypoint is labeled.

    Raises:
        ValueError: no annotation has a labeled keypoint.
    """
    if not len(annotations.keypoints):
        log = IssueLog(file)
        log.add(IssueType.UNLABELED, "the file", "has no annotation with a keypoint of v > 0")
        log.raise_error()


def load_record_image(record: ImageRecord) -> np.ndarray:
    """Load the image [H, W, 3] of a record.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file cannot be read, or its size differs from the annotated one.
    """
    return read_annotated_image(record.file, (record.width, record.height))


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
