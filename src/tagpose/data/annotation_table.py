"""Table of the annotations of a file, collected compactly while the file is streamed."""

from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tagpose.data.coco_categories import choose_categories
from tagpose.data.coco_fields import parse_id
from tagpose.data.coco_schema import AnnotationRow, ImageRow, ReadRules, parse_annotation
from tagpose.data.issues import IssueLog, IssueType

_MIN_V0_SHARE = 0.01  # of keypoints with v = 0; correct files have none with coordinates


class IgnoredAnnotation(NamedTuple):
    """Annotation without labeled keypoints, whose region the loss ignores."""

    id: int | None
    segmentation: Any
    box: list[float]  # x, y, width, height in image pixels


class AnnotationTable(NamedTuple):
    """The T annotations of a file, in the order of the file.

    Keypoints and boxes are stored for S annotations: all of them, or only the trainable ones.
    """

    image_ids: np.ndarray  # [T] int64
    is_crowd: np.ndarray  # [T] bool
    trainable: np.ndarray  # [T] bool: not a crowd, and with a labeled keypoint
    areas: np.ndarray  # [T] float64: square image pixels
    keypoints: np.ndarray  # [S, K, 3] x, y in image pixels, v
    boxes: np.ndarray  # [S, 1 + F, 4] x, y, width, height of person and parts, or 0
    ignored_regions: list[IgnoredAnnotation]  # of the annotations that are not trainable
    row_indices: np.ndarray  # [T] int64: indices in the list of annotations of the file


class AnnotationCollector:
    """Collects the annotation rows of a file.

    Args:
        file: annotation file, for messages.
        rules: which values to read.
        max_issues: number of issues of each type to keep, None for all.
        keep_all: whether to keep keypoints and boxes of all annotations, or of trainable ones only.
        dtype: data type of keypoints and boxes.
    """

    def __init__(
        self, file: Path, rules: ReadRules, max_issues: int | None, *, keep_all: bool, dtype: type
    ) -> None:
        self.file, self.rules, self.max_issues = file, rules, max_issues
        self.keep_all, self.dtype = keep_all, dtype
        self.index = 0
        self.rows_per_category: dict[int | None, int] = defaultdict(int)
        # categories are often listed after the annotations, and issues of skipped ones do not count
        self.logs: dict[int | None, IssueLog] = {}
        self.categories: list[int | None] = []  # [T]
        # category -> number of keypoints with v = 0 that have coordinates, and of all with v = 0
        self.v0_counts: dict[int | None, list[int]] = defaultdict(lambda: [0, 0])
        self.image_ids: list[int] = []
        self.is_crowd, self.trainable = bytearray(), bytearray()
        self.row_indices: list[int] = []
        self.areas: list[float] = []
        self.ignored_regions: list[IgnoredAnnotation] = []
        # one block of memory, because one array per annotation takes twice as much
        self.keypoints = bytearray()
        self.boxes: array[float] = array(np.dtype(dtype).char)
        self._row_hashes: set[int] = set()
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
        """Return whether an earlier row is identical, and log ids that are 0 or used twice."""
        outline = repr(annotation.segmentation) if annotation.id is None else ""
        content = annotation.keypoints.tobytes(), tuple(annotation.boxes), outline
        row_hash = hash((annotation.id, annotation.image_id, annotation.is_crowd, content))
        if row_hash in self._row_hashes:
            detail = f"is repeated in row {index}"
            log.add_row("annotation", row, index, IssueType.ANNOTATION_REPEATED, detail)
            return True
        self._row_hashes.add(row_hash)
        if annotation.id is None:
            return False
        if annotation.id in self._known_ids:
            where = f"annotation {annotation.id}"
            log.add(IssueType.ANNOTATION_ID_REUSED, where, f"has different content in row {index}")
        elif annotation.id == 0:
            log.add(IssueType.ANNOTATION_ID_ZERO, "annotation 0", f"is in row {index}")
        self._known_ids.add(annotation.id)
        return False

    def _store(self, annotation: AnnotationRow, category: int | None) -> None:
        """Store the values of an annotation."""
        trainable = annotation.num_labeled > 0 and not annotation.is_crowd
        self.image_ids.append(annotation.image_id)
        self.is_crowd.append(annotation.is_crowd)
        self.trainable.append(trainable)
        self.areas.append(annotation.area)
        counts = self.v0_counts[category]
        counts[0] += annotation.v0_coordinates
        counts[1] += len(annotation.keypoints) - annotation.num_labeled
        if trainable or self.keep_all:
            self.keypoints += annotation.keypoints.astype(self.dtype).tobytes()
            self.boxes.extend(annotation.boxes)
        if not trainable:
            region = IgnoredAnnotation(annotation.id, annotation.segmentation, annotation.boxes[:4])
            self.ignored_regions.append(region)

    def finish(
        self, categories: object, images: dict[int, ImageRow], log: IssueLog
    ) -> AnnotationTable:
        """Return the annotations of the skeleton's categories whose images are in the file.

        Args:
            categories: value of `categories` in the file.
            images: images of the file, by id.
            log: receives the issues.
        """
        skeleton = self.rules.skeleton
        choice = choose_categories(categories, skeleton, self.rules.options.category, log)
        chosen = [category for category in self.logs if category not in choice.skipped]
        for category in chosen:
            log.extend(self.logs[category])
        self._log_v0([self.v0_counts[category] for category in chosen], log)
        for category in chosen:
            if category is not None and choice.listed and category not in choice.listed:
                count = self.rows_per_category[category]
                detail = f"has {count} of category {category}"
                log.add(IssueType.CATEGORY_UNKNOWN, "the file", detail, count=count)
        table = self._table()
        if skipped := sum(self.rows_per_category[category] for category in choice.skipped):
            detail = f"has {skipped} of {', '.join(choice.skipped.values())}"
            log.add(IssueType.OTHER_CATEGORY, "the file", detail, count=skipped)
        self._reorder(table, choice.keypoint_orders)
        of_category = np.array([c not in choice.skipped for c in self.categories], bool)
        of_image = self._has_image(of_category, images, log)
        table = _select_rows(table, of_category & of_image, self.keep_all)
        if _is_normalized(table.keypoints):
            log.add(IssueType.NORMALIZED, "the file", "has all labeled keypoints between 0 and 1")
        return table

    def _table(self) -> AnnotationTable:
        """Return all annotations."""
        skeleton = self.rules.skeleton
        keypoints: np.ndarray = np.frombuffer(self.keypoints, self.dtype)
        boxes: np.ndarray = np.frombuffer(self.boxes, self.dtype)
        return AnnotationTable(
            image_ids=np.array(self.image_ids, np.int64),
            is_crowd=np.frombuffer(self.is_crowd, bool),
            trainable=np.frombuffer(self.trainable, bool),
            areas=np.array(self.areas, np.float64),
            keypoints=keypoints.reshape(-1, skeleton.size, 3),
            boxes=boxes.reshape(-1, 1 + len(skeleton.disjoint_parts), 4),
            ignored_regions=self.ignored_regions,
            row_indices=np.array(self.row_indices, np.int64),
        )

    def _reorder(self, table: AnnotationTable, orders: dict[int, tuple[int, ...]]) -> None:
        """Bring the keypoints of the body into the skeleton's order, in place."""
        stored = np.array(self.categories)[table.trainable | self.keep_all]
        for category, order in orders.items():
            body = self.rules.skeleton.json_keys["keypoints"]
            rows = np.flatnonzero(stored == category)
            table.keypoints[rows, body] = table.keypoints[rows, body][:, list(order)]

    def _has_image(
        self, of_category: np.ndarray, images: dict[int, ImageRow], log: IssueLog
    ) -> np.ndarray:
        """Return a mask [T] of the annotations whose image is in the file, and log the others."""
        has_image = np.array([image_id in images for image_id in self.image_ids], bool)
        for t in np.flatnonzero(of_category & ~has_image).tolist():
            where = f"annotations[{self.row_indices[t]}]"
            log.add(IssueType.STRAY, where, f"belongs to image {self.image_ids[t]}")
        return has_image

    def _log_v0(self, counts: Sequence[Sequence[int]], log: IssueLog) -> None:
        """Log keypoints with coordinates and v = 0 if there are too many for occasional errors."""
        with_coordinates, total = (sum(values) for values in zip([0, 0], *counts, strict=True))
        if with_coordinates > _MIN_V0_SHARE * total:
            share = with_coordinates / total
            detail = f"has {with_coordinates} of them, {share:.0%} of the keypoints with v = 0"
            log.add(IssueType.COORDINATES_OF_V0, "the file", detail, count=with_coordinates)


def _is_normalized(keypoints: np.ndarray) -> bool:
    """Return whether all labeled keypoints of [S, K, 3] are in [0, 1], at different places."""
    positions, labeled = keypoints[..., :2], keypoints[..., 2:] > 0
    # without a copy of the positions, which take hundreds of megabytes in COCO-WholeBody
    highest = positions.max(where=labeled, initial=-np.inf)
    lowest = positions.min(where=labeled, initial=np.inf)
    return bool(labeled.sum() > 1 and 0 <= lowest < highest <= 1)


def _select_rows(table: AnnotationTable, keep: np.ndarray, keep_all: bool) -> AnnotationTable:
    """Return the annotations that a mask [T] keeps."""
    if keep.all():
        return table
    stored = keep[table.trainable | keep_all]
    regions = zip(table.ignored_regions, keep[~table.trainable].tolist(), strict=True)
    return AnnotationTable(
        image_ids=table.image_ids[keep],
        is_crowd=table.is_crowd[keep],
        trainable=table.trainable[keep],
        areas=table.areas[keep],
        keypoints=table.keypoints[stored],
        boxes=table.boxes[stored],
        ignored_regions=[region for region, is_kept in regions if is_kept],
        row_indices=table.row_indices[keep],
    )
