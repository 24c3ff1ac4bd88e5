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
    Rules,
    parse_annotation,
    parse_image,
    place_of,
)
from tagpose.data.issue_log import IssueLog
from tagpose.data.issues import IssueType

_LEAST_V0_SHARE = 0.01  # of keypoints with v = 0; sound files have none with coordinates


class Masked(NamedTuple):
    """An annotation that is a region without anything to learn."""

    id: int | None
    segmentation: Any
    box: list[float]  # x, y, width, height in image pixels


class Columns(NamedTuple):
    """The T annotations that are read, in the order of the file.

    Keypoints and boxes are of S annotations: all, or only those that are learned.
    """

    image_ids: np.ndarray  # [T] int64
    crowd: np.ndarray  # [T] bool
    learned: np.ndarray  # [T] bool: no crowd, and with a labelled keypoint
    areas: np.ndarray  # [T] float64: square image pixels
    keypoints: np.ndarray  # [S, K, 3] x, y in image pixels, v
    boxes: np.ndarray  # [S, 1 + F, 4] x, y, width, height of the person and its parts, or 0
    masked: list[Masked]  # those that are not learned
    places: np.ndarray  # [T] int64: of the annotations in the list


class ImageCollector:
    """The images of a file."""

    def __init__(self, file: Path, rules: Rules, keep: int | None) -> None:
        self.rules, self.log, self.place = rules, IssueLog(file, keep), 0
        self.images: dict[int, ImageRow] = {}
        self._ids_of_files: dict[str, int] = {}

    def append(self, row: object) -> None:
        """Add one row of the list."""
        place, self.place = self.place, self.place + 1
        image = parse_image(row, place, self.rules, self.log)
        if image is None or self._is_reused(image, place_of("image", row, place)):
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
        if self.rules.files:
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
        keep: number of issues of each type that are kept.
        every: whether keypoints and boxes of all annotations are kept, or of learned ones only.
        dtype: of keypoints and boxes.
    """

    def __init__(
        self, file: Path, rules: Rules, keep: int | None, *, every: bool, dtype: type
    ) -> None:
        self.file, self.rules, self.keep = file, rules, keep
        self.every, self.dtype = every, dtype
        self.place = 0
        self.seen: dict[int | None, int] = defaultdict(int)  # rows of each category
        # categories are often listed after the annotations, and issues of others do not count
        self.logs: dict[int | None, IssueLog] = {}
        self.categories: list[int | None] = []  # [T] of the annotations
        self.v0: dict[int | None, list[int]] = defaultdict(lambda: [0, 0])  # with a place, all
        self.image_ids: list[int] = []
        self.crowd, self.learned = bytearray(), bytearray()
        self.places: list[int] = []
        self.areas: list[float] = []
        self.masked: list[Masked] = []
        # one block of memory, because an array for each takes twice as much
        self.keypoints = bytearray()
        self.boxes: array[float] = array(np.dtype(dtype).char)
        self._known_rows: set[int] = set()
        self._known_ids: set[int] = set()

    def append(self, row: object) -> None:
        """Add one row of the list."""
        place, self.place = self.place, self.place + 1
        category = parse_id(row.get("category_id")) if isinstance(row, dict) else None
        self.seen[category] += 1
        log = self.logs.get(category)
        if log is None:
            log = self.logs[category] = IssueLog(self.file, self.keep)
        annotation = parse_annotation(row, place, self.rules, log)
        if annotation is None or self._is_repeated(annotation, row, place, log):
            return
        self.places.append(place)
        self.categories.append(category)
        self._store(annotation, category)

    def _is_repeated(
        self, annotation: AnnotationRow, row: object, place: int, log: IssueLog
    ) -> bool:
        """Return whether an earlier row is the same; log what is remarkable about its id."""
        outline = repr(annotation.segmentation) if annotation.id is None else ""
        content = annotation.keypoints.tobytes(), tuple(annotation.boxes), outline
        digest = hash((annotation.id, annotation.image_id, annotation.crowd, content))
        if digest in self._known_rows:
            where = place_of("annotation", row, place)
            log.add(IssueType.ANNOTATION_REPEATED, where, f"is repeated in row {place}")
            return True
        self._known_rows.add(digest)
        if annotation.id is None:
            return False
        if annotation.id in self._known_ids:
            where = f"annotation {annotation.id}"
            log.add(IssueType.ANNOTATION_ID_REUSED, where, f"has another content in row {place}")
        elif annotation.id == 0:
            log.add(IssueType.ANNOTATION_ID_ZERO, "annotation 0", f"is in row {place}")
        self._known_ids.add(annotation.id)
        return False

    def _store(self, annotation: AnnotationRow, category: int | None) -> None:
        """Keep what is needed of an annotation."""
        learned = annotation.labelled > 0 and not annotation.crowd
        self.image_ids.append(annotation.image_id)
        self.crowd.append(annotation.crowd)
        self.learned.append(learned)
        self.areas.append(annotation.area)
        counts = self.v0[category]
        counts[0] += annotation.v0_coordinates
        counts[1] += len(annotation.keypoints) - annotation.labelled
        if learned or self.every:
            self.keypoints += annotation.keypoints.astype(self.dtype).tobytes()
            self.boxes.extend(annotation.boxes)
        if not learned:
            region = Masked(annotation.id, annotation.segmentation, annotation.boxes[:4])
            self.masked.append(region)

    def finish(self, categories: object, images: dict[int, ImageRow], log: IssueLog) -> Columns:
        """Return the annotations of the skeleton's categories whose images are listed.

        Args:
            categories: that the file lists.
            images: of the file, by id.
            log: takes the issues.
        """
        skeleton = self.rules.skeleton
        choice = choose_categories(categories, skeleton, self.rules.options.category, log)
        chosen = [one for one in self.logs if one is None or one not in choice.left_out]
        for category in chosen:
            log.extend(self.logs[category])
        self._log_v0([self.v0[category] for category in chosen], log)
        columns = self._columns()
        of_category = np.array([c not in choice.left_out for c in self.categories], bool)
        if left := sum(self.seen[category] for category in choice.left_out):
            what = f"has {left} of {', '.join(choice.left_out.values())}"
            log.add(IssueType.OTHER_CATEGORY, "the file", what, count=left)
        self._reorder(columns, choice.orders)
        return _select(columns, of_category & self._listed(of_category, images, log), self.every)

    def _columns(self) -> Columns:
        """Return all annotations."""
        skeleton = self.rules.skeleton
        flat: np.ndarray = np.frombuffer(self.keypoints, self.dtype)
        boxes: np.ndarray = np.frombuffer(self.boxes, self.dtype)
        return Columns(
            image_ids=np.array(self.image_ids, np.int64),
            crowd=np.frombuffer(self.crowd, bool),
            learned=np.frombuffer(self.learned, bool),
            areas=np.array(self.areas, np.float64),
            keypoints=flat.reshape(-1, skeleton.size, 3),
            boxes=boxes.reshape(-1, 1 + len(skeleton.limbs), 4),
            masked=self.masked,
            places=np.array(self.places, np.int64),
        )

    def _reorder(self, columns: Columns, orders: dict[int, tuple[int, ...]]) -> None:
        """Bring keypoints of the body field into the skeleton's order."""
        stored = np.array(self.categories)[columns.learned | self.every]
        for category, order in orders.items():
            at = self.rules.skeleton.fields["keypoints"]
            rows = np.flatnonzero(stored == category)
            part = columns.keypoints[rows, at]
            columns.keypoints[rows, at] = part[:, list(order)]

    def _listed(
        self, of_category: np.ndarray, images: dict[int, ImageRow], log: IssueLog
    ) -> np.ndarray:
        """Return which annotations [T] are of an image that the file lists."""
        listed = np.array([image_id in images for image_id in self.image_ids], bool)
        for t in np.flatnonzero(of_category & ~listed).tolist():
            where = f"annotations[{self.places[t]}]"
            log.add(IssueType.STRAY, where, f"is of image {self.image_ids[t]}")
        return listed

    def _log_v0(self, counts: Sequence[Sequence[int]], log: IssueLog) -> None:
        """Log keypoints with a place and v = 0, where they are more than a slip."""
        placed, total = (sum(values) for values in zip([0, 0], *counts, strict=True))
        if placed > _LEAST_V0_SHARE * total:
            what = f"has {placed} of them, {placed / total:.0%} of the keypoints with v = 0"
            log.add(IssueType.COORDINATES_OF_V0, "the file", what, count=placed)


def _select(columns: Columns, keep: np.ndarray, every: bool) -> Columns:
    """Return the annotations [T] that are kept."""
    if keep.all():
        return columns
    stored = keep[columns.learned | every]
    masked = zip(columns.masked, keep[~columns.learned].tolist(), strict=True)
    return Columns(
        image_ids=columns.image_ids[keep],
        crowd=columns.crowd[keep],
        learned=columns.learned[keep],
        areas=columns.areas[keep],
        keypoints=columns.keypoints[stored],
        boxes=columns.boxes[stored],
        masked=[one for one, kept in masked if kept],
        places=columns.places[keep],
    )
