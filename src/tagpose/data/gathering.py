"""This file gathers the rows of an annotation file, and keeps of each no more than is needed."""

from collections.abc import Container, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tagpose.data.entries import (
    boxes_of,
    check_box,
    entry,
    image_size,
    integer,
    keypoints_of,
    mask_of,
)
from tagpose.data.masks import Masks, lay_masks
from tagpose.data.unlabelled import box_keys, unlabelled_boxes
from tagpose.skeleton import Skeleton

_AT_ONCE: Final = 10_000  # people


class ImageRows:
    """The images of a file."""

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, 0
        self.sizes: dict[int, tuple[int, int]] = {}  # width, height in image pixels, by image id
        self.names: dict[int, object] = {}  # what stands for the name of the file, by image id
        self._known: set[str] = set()  # the names among them

    def append(self, row: object) -> None:
        image = entry(row, "images", self.rows, self.file)
        self.rows += 1
        image_id = integer(image, "id", self.file)
        if image_id in self.sizes:
            raise ValueError(f"{self.file}: the image id {image_id} stands twice")
        name = image.get("file_name")
        if isinstance(name, str) and name in self._known:
            raise ValueError(
                f"{self.file}: the file_name {name!r} stands twice; people of one image would be "
                "background in the other"
            )
        self._known.add(name if isinstance(name, str) else "")
        self.sizes[image_id], self.names[image_id] = image_size(image, self.file), name


class PersonRows:
    """The annotations of a file: those who count, who are no crowd and labelled, and the others."""

    def __init__(self, file: Path, skeleton: Skeleton) -> None:
        self.file, self.skeleton = file, skeleton
        self.ids: list[object] = []  # of every row
        self._known: set[object] = set()  # the same
        self.image_ids: list[int] = []  # of every row
        self.counts: list[bool] = []  # of every row
        self.outlines: list[dict[str, Any]] = []  # of the others: the fields that make a mask
        # of those who count; one block of memory, because an array for each takes twice as much
        self._keypoints, self._boxes = bytearray(), bytearray()
        self._box_keys = box_keys(skeleton)

    def append(self, row: object) -> None:
        person = entry(row, "annotations", len(self.ids), self.file)
        image_id = integer(person, "image_id", self.file)
        keypoints = keypoints_of(person, self.skeleton, self.file)
        check_box(person, self.file)
        counts = not person.get("iscrowd", 0) and bool((keypoints[:, 2] > 0).any())
        self._note(person.get("id"))
        self.image_ids.append(image_id)
        self.counts.append(counts)
        if counts:
            self._keypoints += keypoints.tobytes()
            self._boxes += boxes_of(person, self._box_keys, self.file).tobytes()
        else:
            wanted = ("id", "segmentation", "bbox")
            self.outlines.append({key: person[key] for key in wanted if key in person})

    def _note(self, row_id: object) -> None:
        """Remember the id of a row, which no other may have."""
        self.ids.append(row_id)
        if row_id is not None and isinstance(row_id, Hashable):
            if row_id in self._known:
                raise ValueError(f"{self.file}: the annotation id {row_id} stands twice")
            self._known.add(row_id)

    def check_images(self, known: Container[int]) -> None:
        """See that everybody is in an image of those that are known by their ids.

        Raises:
            ValueError: somebody is not.
        """
        for row_id, image_id in zip(self.ids, self.image_ids, strict=True):
            if image_id not in known:
                raise ValueError(f"{self.file}: annotation {row_id} is of no image, {image_id}")

    def lay_masks(self, sizes: Mapping[int, tuple[int, int]], reach: int) -> Masks:
        """Masks of the others.

        Args:
            sizes: width, height in image pixels, by image id.
            reach: sides of its image that a polygon may be away from it.

        Raises:
            ValueError: one has no outline that can be drawn.
        """
        others = [i for i, counts in zip(self.image_ids, self.counts, strict=True) if not counts]
        masks = [
            mask_of(outline, sizes[i], reach=reach * max(sizes[i]), file=self.file)
            for i, outline in zip(others, self.outlines, strict=True)
        ]
        return lay_masks(others, masks)

    def lay_people(self, images: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those who count, image after image.

        Args:
            images: N ids, among them those of all rows.

        Returns:
            Keypoints [T, K, 3] float32: x, y in image pixels, v; where limbs without labels may be
            [T, F, 4], see `unlabelled_boxes`; and offsets [N + 1] int64: image i has people
            offsets[i] to offsets[i + 1].
        """
        place = {image_id: n for n, image_id in enumerate(images)}
        of_row = np.array([place[image_id] for image_id in self.image_ids], np.int64)
        image = of_row[np.array(self.counts, bool)]  # [T]
        people = np.frombuffer(self._keypoints, np.float32).reshape(-1, self.skeleton.size, 3)
        boxes = np.frombuffer(self._boxes, np.float32).reshape(-1, len(self._box_keys), 4)
        # so many at a time: what comes and goes takes several times the memory of the keypoints
        starts = range(0, max(len(people), 1), _AT_ONCE)
        some = (slice(start, start + _AT_ONCE) for start in starts)
        places = [unlabelled_boxes(people[at], boxes[at], self.skeleton) for at in some]
        order = np.argsort(image, kind="stable")
        each = np.bincount(image, minlength=len(images))
        return people[order], np.concatenate(places)[order], np.cumsum([0, *each])
