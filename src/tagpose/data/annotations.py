"""Annotations of a dataset, parsed once and then mapped from a cache."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tagpose.data.annotation_arrays import AnnotationArrays, build_arrays, cache_dependencies
from tagpose.data.array_cache import load_or_build, mmap_arrays
from tagpose.data.coco_file import check_annotation_file
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, ReadRules
from tagpose.data.image_files import locate_all_images
from tagpose.data.images import read_annotated_image
from tagpose.data.issue_log import IssueLog, emit_warnings
from tagpose.data.issue_types import IssueType
from tagpose.data.rle_masks import PackedMasks
from tagpose.skeletons.skeleton import Skeleton


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
