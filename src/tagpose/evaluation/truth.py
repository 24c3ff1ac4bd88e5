"""This file reads what annotations say about people: the truth that results are held against."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tagpose.skeleton import Skeleton
from tagpose.structures import is_whole


class Truth(NamedTuple):
    """All T annotated people of N images, image by image, in image pixels."""

    image_ids: np.ndarray  # [N] int64, rising
    image: np.ndarray  # [T] int64 places in image_ids, never falling
    keypoints: np.ndarray  # [T, K, 3] float64: x, y, v > 0 where labelled
    areas: np.ndarray  # [T] float64 of the person's mask, square image pixels
    boxes: np.ndarray  # [T, 4] float64: left, top, width, height
    crowd: np.ndarray  # [T] bool: a region of many people


def read_truth(path: Path, skeleton: Skeleton) -> Truth:
    """The people of an official annotation file.

    Args:
        path: of a COCO or COCO-WholeBody JSON file.
        skeleton: whose limbs are read; BODY reads both kinds of file.

    Raises:
        ValueError: the file is not such a file; the sentence says what was found and would do.
    """
    images, annotations = _lists(path)
    image_ids = np.unique(np.array([image["id"] for image in images], np.int64))
    place = {int(image_id): n for n, image_id in enumerate(image_ids)}
    stray = [row for row in annotations if row["image_id"] not in place]
    if stray:
        raise ValueError(
            f"{path}: annotation {stray[0].get('id')} is of image {stray[0]['image_id']}, "
            "which the file does not list under 'images'"
        )
    # within an image the order of the file stays: it decides ties
    rows = sorted(annotations, key=lambda row: place[row["image_id"]])
    image = np.array([place[row["image_id"]] for row in rows], np.int64)
    numbers = np.empty((len(rows), 6 + 3 * skeleton.size))
    for n, row in enumerate(rows):
        numbers[n] = _numbers(row, path, skeleton)
    keypoints = numbers[:, 6:].reshape(len(rows), skeleton.size, 3)
    return Truth(image_ids, image, keypoints, numbers[:, 1], numbers[:, 2:6], numbers[:, 0] > 0)


def select(truth: Truth, image_ids: Iterable[int]) -> Truth:
    """The truth of some of the images.

    Raises:
        ValueError: an image is not in the truth.
    """
    wanted = np.unique(np.fromiter(image_ids, np.int64))
    unknown = np.setdiff1d(wanted, truth.image_ids)
    if len(unknown):
        raise ValueError(f"the truth has no image {unknown[0]} ({len(unknown)} are unknown)")
    of_image = truth.image_ids[truth.image]  # [T]
    keep = np.isin(of_image, wanted)
    return Truth(wanted, np.searchsorted(wanted, of_image[keep]), *(f[keep] for f in truth[2:]))


def _lists(path: Path) -> list[list[dict[str, Any]]]:
    """The images and annotations that a file lists."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error}); download it again") from error
    content = content if isinstance(content, dict) else {}
    wanted = {"images": "id", "annotations": "image_id"}
    for name, key in wanted.items():
        if not _have(content.get(name), key):
            raise ValueError(
                f"{path}: no list {name!r} whose entries have a whole number {key!r}; "
                "the annotation file is wanted here, not a result file"
            )
    return [content[name] for name in wanted]


def _have(rows: object, key: str) -> bool:
    """Whether rows are a list of objects with a whole number under the key."""
    return isinstance(rows, list) and all(
        isinstance(row, dict) and is_whole(row.get(key)) for row in rows
    )


def _numbers(row: dict[str, Any], path: Path, skeleton: Skeleton) -> np.ndarray:
    """The numbers [6 + 3 * K] of one annotation: crowd, area, box, keypoints."""
    fields = list(skeleton.fields)
    absent = [field for field in ("iscrowd", "area", "bbox", *fields) if field not in row]
    if absent:
        raise ValueError(
            f"{path}: annotation {row.get('id')} has no {absent[0]!r}; skeleton {skeleton.name!r} "
            f"wants a file whose annotations have {', '.join(fields)}, iscrowd, area and bbox"
        )
    try:
        parts = [row["iscrowd"], row["area"]], row["bbox"], *(row[field] for field in fields)
        flat = np.concatenate([np.array(part, np.float64) for part in parts])
    except (TypeError, ValueError):
        flat = np.empty(0)
    if len(flat) != 6 + 3 * skeleton.size or not np.isfinite(flat).all():
        raise ValueError(
            f"{path}: annotation {row.get('id')} does not have a bbox of 4 and {skeleton.size} "
            "keypoints of 3 finite numbers"
        )
    return flat
