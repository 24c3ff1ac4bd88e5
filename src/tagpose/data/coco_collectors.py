"""Collectors of the rows of an annotation file, which keep no more of each than is needed."""

from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tagpose.data.coco_categories import choose_categories
from tagpose.data.coco_fields import parse_id
from tagpose.data.coco_schema import (
    AnnotationRow,
    ImageRow,
    ReadRules,
    describe_row,
    parse_annotation,
    parse_image,
)
from tagpose.data.issue_log import IssueLog
from tagpose.data.issue_types import IssueType

_MIN_V0_SHARE = 0.01  # of keypoints with v = 0; sound files have none with coordinates


class IgnoredRegion(NamedTuple):
    """An annotation that is a region without anything to learn."""

    id: int | None
    segmentation: Any
    box: list[float]  # x, y, width, height in image pixels


class AnnotationTable(NamedTuple):
    """The T annotations that are read, in the order of the file.

    Keypoints and boxes are of S annotations: all, or only those that are learned.
    """

    image_ids: np.ndarray  # [T] int64
    is_crowd: np.ndarray  # [T] bool
    trainable: np.ndarray  # [T] bool: no crowd, and with a labelled keypoint
    areas: np.ndarray  # [T] float64: square image pixels
    keypoints: np.ndarray  # [S, K, 3] x, y in image pixels, v
    boxes: np.ndarray  # [S, 1 + F, 4] x, y, width, height of the person and its parts, or 0
    ignored_regions: list[IgnoredRegion]  # those that are not learned
    row_indices: np.ndarray  # [T] int64: of the annotations in the list


class ImageCollector:
    """The images of a file."""

    def __init__(self, file: Path, rules: ReadRules, max_issues: int | None) -> None:
        self.rules, self.log, self.index = rules, IssueLog(file, max_issues), 0
        self.images: dict[int, ImageRow] = {}
        self._ids_of_files: dict[str, int] = {}

    def append(self, row: object) -> None:
        """Add one row of the list."""
        index, self.index = self.index, self.index + 1
        image = parse_image(row, index, self.rules, self.log)
        if image is None or self._is_reused(image, describe_row("image", row, index)):
            return
        self.images[image.id] = image

    def _is_reused(self, image: ImageRow, where: str) -> bool:
        """Return whether an earlier row has the id or the file of an image."""
        if earlier := self.images.get(image.id):
            if earlier == image:
                self.log.add(IssueType.IMAGE_REPEATED, where, f"repeats {image.file_name!r}")
            else:
                what = f"has the id of {earlier.file_name!r} and is {image.file_name!r}"
                self.log.add(IssueType.IMAGE_REUSED, where, what, image.id)
            return True
        if self.rules.with_files:
            other = self._ids_of_files.setdefault(image.file_name, image.id)
            if other != image.id:
                what = f"has the file_name {image.file_name!r}, as image {other} has"
                self.log.add(IssueType.FILE_REUSED, where, what, image.id, other)
        return False


class AnnotationCollector:
    """The annotations of a file.

    Args:
        file: for messages.
        rules: what is needed of the file.
        max_issues: number of issues of each type that are kept.
        keep_all: whether keypoints and boxes of all annotations are kept, or of learned ones only.
        dtype: of keypoints and boxes.
    """

    def __init__(
        self, file: Path, rules: ReadRules, max_issues: int | None, *, keep_all: bool, dtype: type
    ) -> None:
        self.file, self.rules, self.max_issues = file, rules, max_issues
        self.keep_all, self.dtype = keep_all, dtype
        self.index = 0
        self.rows_per_category: dict[int | None, int] = defaultdict(int)  # rows of each category
        # categories are often listed after the annotations, and issues of others do not count
        self.logs: dict[int | None, IssueLog] = {}
        self.categories: list[int | None] = []  # [T] of the annotations
        self.v0: dict[int | None, list[int]] = defaultdict(lambda: [0, 0])  # with coordinates, all
        self.image_ids: list[int] = []
        self.is_crowd, self.trainable = bytearray(), bytearray()
        self.row_indices: list[int] = []
        self.areas: list[float] = []
        self.ignored_regions: list[IgnoredRegion] = []
        # one block of memory, because an array for each takes twice as much
        self.keypoints = bytearray()
        self.boxes: array[float] = array(np.dtype(dtype).char)
        self._known_rows: set[int] = set()
        self._known_ids: set[int] = set()

    def append(self, row: object) -> None:
        """Add one row of the list."""
        index, self.index = self.index, self.index + 1
        category = parse_id(row.get("category_id")) if isinstance(row, dict) else None
        self.rows_per_category[category] += 1
        log = self.logs.get(category)
        if log is None:
            log = self.logs[category] = IssueLog(self.file, self.max_issues)
        annotation = parse_annotation(row, index, self.rules, log)
        if annotation is None or self._is_repeated(annotation, row, index, log):
            return
        self.row_indices.append(index)
        self.categories.append(category)
        self._store(annotation, category)

    def _is_repeated(
        self, annotation: AnnotationRow, row: object, index: int, log: IssueLog
    ) -> bool:
        """Return whether an earlier row is the same; log what is remarkable about its id."""
        outline = repr(annotation.segmentation) if annotation.id is None else ""
        content = annotation.keypoints.tobytes(), tuple(annotation.boxes), outline
        digest = hash((annotation.id, annotation.image_id, annotation.is_crowd, content))
        if digest in self._known_rows:
            where = describe_row("annotation", row, index)
            log.add(IssueType.ANNOTATION_REPEATED, where, f"is repeated in row {index}")
            return True
        self._known_rows.add(digest)
        if annotation.id is None:
            return False
        if annotation.id in self._known_ids:
            where = f"annotation {annotation.id}"
            log.add(IssueType.ANNOTATION_ID_REUSED, where, f"has another content in row {index}")
        elif annotation.id == 0:
            log.add(IssueType.ANNOTATION_ID_ZERO, "annotation 0", f"is in row {index}")
        self._known_ids.add(annotation.id)
        return False

    def _store(self, annotation: AnnotationRow, category: int | None) -> None:
        """Keep what is needed of an annotation."""
        trainable = annotation.num_labelled > 0 and not annotation.is_crowd
        self.image_ids.append(annotation.image_id)
        self.is_crowd.append(annotation.is_crowd)
        self.trainable.append(trainable)
        self.areas.append(annotation.area)
        counts = self.v0[category]
        counts[0] += annotation.v0_coordinates
        counts[1] += len(annotation.keypoints) - annotation.num_labelled
        if trainable or self.keep_all:
            self.keypoints += annotation.keypoints.astype(self.dtype).tobytes()
            self.boxes.extend(annotation.boxes)
        if not trainable:
            region = IgnoredRegion(annotation.id, annotation.segmentation, annotation.boxes[:4])
            self.ignored_regions.append(region)

    def finish(
        self, categories: object, images: dict[int, ImageRow], log: IssueLog
    ) -> AnnotationTable:
        """Return the annotations of the skeleton's categories whose images are listed.

        Args:
            categories: that the file lists.
            images: of the file, by id.
            log: takes the issues.
        """
        skeleton = self.rules.skeleton
        choice = choose_categories(categories, skeleton, self.rules.options.category, log)
        chosen = [one for one in self.logs if one is None or one not in choice.skipped]
        for category in chosen:
            log.extend(self.logs[category])
        self._log_v0([self.v0[category] for category in chosen], log)
        table = self._table()
        of_category = np.array([c not in choice.skipped for c in self.categories], bool)
        if left := sum(self.rows_per_category[category] for category in choice.skipped):
            what = f"has {left} of {', '.join(choice.skipped.values())}"
            log.add(IssueType.OTHER_CATEGORY, "the file", what, count=left)
        self._reorder(table, choice.keypoint_orders)
        return _select_rows(
            table, of_category & self._listed(of_category, images, log), self.keep_all
        )

    def _table(self) -> AnnotationTable:
        """Return all annotations."""
        skeleton = self.rules.skeleton
        flat: np.ndarray = np.frombuffer(self.keypoints, self.dtype)
        boxes: np.ndarray = np.frombuffer(self.boxes, self.dtype)
        return AnnotationTable(
            image_ids=np.array(self.image_ids, np.int64),
            is_crowd=np.frombuffer(self.is_crowd, bool),
            trainable=np.frombuffer(self.trainable, bool),
            areas=np.array(self.areas, np.float64),
            keypoints=flat.reshape(-1, skeleton.size, 3),
            boxes=boxes.reshape(-1, 1 + len(skeleton.disjoint_parts), 4),
            ignored_regions=self.ignored_regions,
            row_indices=np.array(self.row_indices, np.int64),
        )

    def _reorder(self, table: AnnotationTable, orders: dict[int, tuple[int, ...]]) -> None:
        """Bring keypoints of the body field into the skeleton's order."""
        stored = np.array(self.categories)[table.trainable | self.keep_all]
        for category, order in orders.items():
            at = self.rules.skeleton.json_keys["keypoints"]
            rows = np.flatnonzero(stored == category)
            part = table.keypoints[rows, at]
            table.keypoints[rows, at] = part[:, list(order)]

    def _listed(
        self, of_category: np.ndarray, images: dict[int, ImageRow], log: IssueLog
    ) -> np.ndarray:
        """Return which annotations [T] are of an image that the file lists."""
        listed = np.array([image_id in images for image_id in self.image_ids], bool)
        for t in np.flatnonzero(of_category & ~listed).tolist():
            where = f"annotations[{self.row_indices[t]}]"
            log.add(IssueType.STRAY, where, f"is of image {self.image_ids[t]}")
        return listed

    def _log_v0(self, counts: Sequence[Sequence[int]], log: IssueLog) -> None:
        """Log keypoints with coordinates and v = 0, where they are more than a slip."""
        placed, total = (sum(values) for values in zip([0, 0], *counts, strict=True))
        if placed > _MIN_V0_SHARE * total:
            what = f"has {placed} of them, {placed / total:.0%} of the keypoints with v = 0"
            log.add(IssueType.COORDINATES_OF_V0, "the file", what, count=placed)


def _select_rows(table: AnnotationTable, keep: np.ndarray, keep_all: bool) -> AnnotationTable:
    """Return the annotations [T] that are kept."""
    if keep.all():
        return table
    stored = keep[table.trainable | keep_all]
    masked = zip(table.ignored_regions, keep[~table.trainable].tolist(), strict=True)
    return AnnotationTable(
        image_ids=table.image_ids[keep],
        is_crowd=table.is_crowd[keep],
        trainable=table.trainable[keep],
        areas=table.areas[keep],
        keypoints=table.keypoints[stored],
        boxes=table.boxes[stored],
        ignored_regions=[one for one, kept in masked if kept],
        row_indices=table.row_indices[keep],
    )
