"""Annotations of a data set for training and validation, read once and then mapped from a cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from tagpose.data.array_store import mmap_arrays
from tagpose.data.cache import load_or_build
from tagpose.data.coco_collectors import AnnotationTable
from tagpose.data.coco_file import read_coco_file
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ImageRow, ReadOptions, ReadRules, describe_row
from tagpose.data.ignore_regions import ignore_boxes
from tagpose.data.image_lookup import fill_missing_sizes, locate_images
from tagpose.data.issue_log import IssueLog, emit_warnings
from tagpose.data.issue_types import IssueType
from tagpose.data.json_stream import check_file_exists
from tagpose.data.rle_masks import PackedMasks, pack_masks, parse_segmentation
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import ImageRecord

_CHUNK_SIZE: Final = 10_000  # people


@dataclass(frozen=True)
class Annotations:
    """A whole data set in columns, mapped from a cache: processes share the memory."""

    description: str  # what the file says it is
    folder: Path  # of the images
    skeleton: Skeleton  # of the people
    image_ids: np.ndarray  # [N] int64
    files: np.ndarray  # [N] str: names in the folder
    sizes: np.ndarray  # [N, 2] int64: width, height in image pixels
    keypoints: np.ndarray  # [T, K, 3] float32: everybody who counts, image after image
    unlabelled: (
        np.ndarray
    )  # [T, F, 4] float32: where parts without labels may be, as of a ImageRecord
    offsets: np.ndarray  # [N + 1] int64: image i has people offsets[i] to offsets[i + 1]
    ignored: PackedMasks  # image id -> RLE masks
    cache_file: Path | None = None  # where the columns lie; None where they are in memory alone
    relocated: bool = False  # whether `files` are others than the cache has

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens the cache itself: nothing large travels to it."""
        if self.cache_file is None:
            return dict(vars(self))
        names = ("cache_file", "folder", "skeleton", *(["relocated", "files"] * self.relocated))
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["cache_file"] is not None:
            _, *columns = mmap_arrays(state["cache_file"], check=False)  # the first process has
            mapped = _from_arrays(columns, state["folder"], state["skeleton"], state["cache_file"])
            state = vars(mapped) | state
        vars(self).update(state)

    @cached_property
    def max_people_per_image(self) -> int:
        """The largest number of people who count in one image."""
        return int(np.diff(self.offsets).max(initial=0))

    def record(self, index: int) -> ImageRecord:
        """What is known of image number `index`."""
        image_id = int(self.image_ids[index])
        width, height = self.sizes[index].tolist()
        first, last = self.offsets[index : index + 2]
        return ImageRecord(
            image_id=image_id,
            file=self.folder / str(self.files[index]),
            width=width,
            height=height,
            keypoints=self.keypoints[first:last].copy(),  # a cache cannot be written; torch warns
            ignored=self.ignored.get(image_id, ()),
            unlabelled=self.unlabelled[first:last],
        )


def read_annotations(
    file: Path,
    folder: Path,
    skeleton: Skeleton,
    *,
    only_annotated: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Annotations:
    """Read a JSON file of COCO keypoints or COCO-WholeBody.

    People with a labelled keypoint are learned; crowds and all other people become masks. What was
    read is cached, see `load_or_build`; that the images are there is checked each time. What is skipped
    or repaired is told in warnings, one for each `IssueType`.

    Args:
        file: of the annotations.
        folder: of the images.
        skeleton: whose keypoints are read; its parts name the fields.
        only_annotated: whether images without any annotation are left out, as in training.
        options: what users decide about reading.

    Raises:
        FileNotFoundError: the file or an image is missing.
        ValueError: the file has an error; the sentence names file and row.
    """
    check_file_exists(file)
    variant = skeleton.name + ("-annotated" if only_annotated else "")
    rules = ReadRules(skeleton, options, with_areas=False)
    read = partial(_build_arrays, file, folder, rules, only_annotated=only_annotated)
    (lines, *columns), cache_file = load_or_build(file, variant, _cache_dependencies(rules), read)
    emit_warnings(lines.tolist())
    annotations = _from_arrays(columns, folder, skeleton, cache_file)
    return _locate_images(annotations, file)


def check_labelled(annotations: Annotations, file: Path) -> None:
    """Check that there is something to learn or to score.

    Raises:
        ValueError: if no annotation has a labelled keypoint.
    """
    if not len(annotations.keypoints):
        log = IssueLog(file)
        log.add(IssueType.UNLABELLED, "the file", "has no annotation with a keypoint of v above 0")
        log.raise_error()


def _cache_dependencies(rules: ReadRules) -> dict[str, Any]:
    """What of the rules decides what is read."""
    skeleton = rules.skeleton
    return {
        "names": skeleton.keypoints,
        "json_keys": dict(skeleton.json_keys),
        "disjoint_parts": dict(skeleton.disjoint_parts),
        "part_parents": skeleton.part_parents,
        "options": tuple(rules.options),
    }


def _locate_images(annotations: Annotations, file: Path) -> Annotations:
    """Annotations with the places of their images; they are looked for each time."""
    log, names = IssueLog(file, max_kept=1), annotations.files.tolist()
    found = locate_images(annotations.folder, names, annotations.image_ids.tolist(), log)
    log.raise_error()
    emit_warnings(log.warning_lines())
    if found == names:
        return annotations
    return replace(annotations, files=np.array(found), relocated=True)


def _from_arrays(
    columns: Sequence[np.ndarray], folder: Path, skeleton: Skeleton, cache_file: Path | None
) -> Annotations:
    """Annotations of the columns that `_build_arrays` lays."""
    description, image_ids, files, sizes, keypoints, unlabelled, offsets, *masks = columns
    return Annotations(
        description=str(description),
        folder=folder,
        skeleton=skeleton,
        image_ids=image_ids,
        files=files,
        sizes=sizes,
        keypoints=keypoints,
        unlabelled=unlabelled,
        offsets=offsets,
        ignored=PackedMasks(*masks),
        cache_file=cache_file,
    )


def _build_arrays(
    file: Path, folder: Path, rules: ReadRules, *, only_annotated: bool
) -> list[np.ndarray]:
    """Parse a file, whose images may follow its people, and lay what is cached of it."""
    content = read_coco_file(file, rules)
    log = content.log
    annotated = set(content.annotations.image_ids.tolist())
    images = {i: one for i, one in content.images.items() if i in annotated or not only_annotated}
    images = fill_missing_sizes(folder, images, log)
    log.raise_error()
    if not images:
        raise ValueError(f"{file} has no image with annotations; is it the right file?")
    masks = pack_ignored_masks(content.annotations, images, log)
    log.raise_error()
    keypoints, unlabelled, offsets = _pack_people(content.annotations, images, rules.skeleton)
    return [
        np.array(log.warning_lines(), str),
        np.array(content.description),
        np.array(list(images), np.int64),
        np.array([image.file_name for image in images.values()]),
        np.array([image[2:] for image in images.values()], np.int64),
        keypoints,
        unlabelled,
        offsets,
        *(masks.image_ids, masks.sizes, masks.offsets, masks.runs),
    ]


def pack_ignored_masks(
    annotations: AnnotationTable, images: Mapping[int, ImageRow], log: IssueLog
) -> PackedMasks:
    """Pack the masks of the annotations that are not learned.

    Args:
        annotations: of a file.
        images: of all of them, by id.
        log: takes segmentations that cannot be read.
    """
    ids, masks = [], []
    rows = ~annotations.trainable
    of_image, places = annotations.image_ids[rows].tolist(), annotations.row_indices[rows].tolist()
    for image_id, place, region in zip(of_image, places, annotations.ignored_regions, strict=True):
        try:
            masks.append(parse_segmentation(region.segmentation, region.box, images[image_id][2:]))
            ids.append(image_id)
        except ValueError as error:
            where = describe_row("annotation", region._asdict(), place)
            log.add(IssueType.SEGMENTATION, where, str(error), image_id)
    return pack_masks(ids, masks)


def _pack_people(
    annotations: AnnotationTable, images: Mapping[int, ImageRow], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those who are learned, image after image.

    Args:
        annotations: of a file; their keypoints are those of the S that are learned.
        images: N images, among them those of all annotations.
        skeleton: of the people.

    Returns:
        Keypoints [S, K, 3] float32: x, y in image pixels, v; where parts without labels may be
        [S, F, 4], see `ignore_boxes`; and offsets [N + 1] int64: image i has people offsets[i]
        to offsets[i + 1].
    """
    place = {image_id: n for n, image_id in enumerate(images)}
    of_image = annotations.image_ids[annotations.trainable].tolist()
    image = np.array([place[image_id] for image_id in of_image], np.int64)  # [S]
    people, boxes = annotations.keypoints, annotations.boxes
    # so many at a time: what comes and goes takes several times the memory of the keypoints
    starts = range(0, max(len(people), 1), _CHUNK_SIZE)
    some = (slice(start, start + _CHUNK_SIZE) for start in starts)
    places = [ignore_boxes(people[at], boxes[at], skeleton) for at in some]
    order = np.argsort(image, kind="stable")
    each = np.bincount(image, minlength=len(images))
    return people[order], np.concatenate(places)[order], np.cumsum([0, *each])
