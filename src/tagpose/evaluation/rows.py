"""This file turns people into rows of the official result format, and rows back into people.

One row is one person, with `keypoints` for the body and `foot_kpts` and the like for the other
limbs, each a flat list of x, y, score. Coordinates are in image pixels.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from tagpose.skeleton import Skeleton
from tagpose.structures import People

Row: TypeAlias = dict[str, Any]  # JSON: what a key holds depends on the key

_PERSON: Final = 1  # the one category of COCO keypoints
_DECIMALS: Final = 3  # of coordinates; the annotations have at most two
_SMALLEST: Final = 1e-6  # of keypoint scores; a part with no score above 0 is not evaluated


def keypoint_field(limb: str) -> str:
    """The key under which the official format, truth or result, holds a limb's keypoints."""
    return "keypoints" if limb == "body" else f"{limb}_kpts"


def to_rows(image_id: int, people: People, skeleton: Skeleton) -> list[Row]:
    """Rows of one image's people.

    Args:
        image_id: of the image, as in the annotations.
        people: P people with keypoints [P, K, 3] in image pixels.
        skeleton: that has K keypoints.

    Returns:
        P rows of plain Python numbers. Every part has the person's score (the classic rule).

    Raises:
        ValueError: a number is not finite, or the skeleton has another number of keypoints.
    """
    check_people(image_id, people, skeleton)
    keypoints = _rounded(people.keypoints)
    other = [part for part in skeleton.parts if part != "body"]
    rows = []
    for points, score in zip(keypoints, people.scores.tolist(), strict=True):
        row: Row = {"image_id": int(image_id), "category_id": _PERSON, "score": score}
        row |= {keypoint_field(n): points[at].ravel().tolist() for n, at in skeleton.limbs.items()}
        rows.append(row | {f"{part}_score": score for part in other})
    return rows


def from_rows(rows: Iterable[Row], skeleton: Skeleton) -> dict[int, People]:
    """People in image pixels by image id; images without rows are absent.

    Numbers are float64, so that a file is scored as it stands.

    Args:
        rows: as `to_rows` makes them; part scores may be absent, other keys are not looked at.
        skeleton: whose limbs are read.

    Raises:
        ValueError: a row lacks a field, has too few numbers or one that is not finite, or has a
            part score that is not the person's score.
    """
    points, scores = defaultdict(list), defaultdict(list)
    for number, row in enumerate(rows):
        flat = _flat(row, number, skeleton)
        points[row["image_id"]].append(np.reshape(flat, (skeleton.size, 3)))
        scores[row["image_id"]].append(row["score"])
    found = {
        image_id: People(np.stack(points[image_id]), np.array(scores[image_id], np.float64))
        for image_id in points
    }
    for image_id, people in found.items():
        check_people(image_id, people, skeleton)
    return found


def check_people(image_id: int, people: People, skeleton: Skeleton) -> None:
    """Refuse people that must not be scored.

    In the official evaluation NaN is never below a threshold: a file of NaN has AP 1.0.

    Raises:
        ValueError: keypoints are not [P, K, 3] or scores not [P], or a number is not finite.
    """
    keypoints, scores = people.keypoints, people.scores
    if keypoints.shape != (len(scores), skeleton.size, 3):
        raise ValueError(
            f"image {image_id}: keypoints {keypoints.shape} with {len(scores)} scores; the "
            f"skeleton {skeleton.name!r} wants {(len(scores), skeleton.size, 3)}"
        )
    finite = np.isfinite(keypoints).all((1, 2)) & np.isfinite(scores)
    if not finite.all():
        raise ValueError(
            f"image {image_id}, row {int(np.argmin(finite))}: a coordinate or score is not finite; "
            "has the training diverged?"
        )


def read_rows(path: Path) -> list[Row]:
    """Rows of a result file.

    Raises:
        ValueError: the file is not a JSON list of objects.
    """
    try:
        rows = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: a result file is a JSON list of objects, one per person")
    return rows


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a result file, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # same folder: a rename is atomic
    try:
        partial.write_text(json.dumps(list(rows), allow_nan=False))
        os.replace(partial, path)  # noqa: PTH105 - the name says that it replaces
    finally:
        partial.unlink(missing_ok=True)


def _rounded(keypoints: np.ndarray) -> np.ndarray:
    """Keypoints [P, K, 3] float64 with as many digits as mean something."""
    xy = keypoints[..., :2].astype(np.float64).round(_DECIMALS)
    score = keypoints[..., 2:].astype(np.float64).round(6)
    return np.concatenate([xy, np.where(keypoints[..., 2:] > 0, score.clip(_SMALLEST), score)], -1)


def _flat(row: Row, number: int, skeleton: Skeleton) -> list[float]:
    """The 3 * K numbers of a row, limb behind limb."""
    fields = [keypoint_field(limb) for limb in skeleton.limbs]
    absent = [field for field in ("image_id", "score", *fields) if field not in row]
    if absent:
        raise ValueError(f"row {number} has no {absent[0]!r}; skeleton {skeleton.name!r} wants it")
    unequal = [p for p in skeleton.parts if row.get(f"{p}_score", row["score"]) != row["score"]]
    if unequal:
        raise ValueError(
            f"row {number}, image {row['image_id']}: {unequal[0]}_score is not the score; "
            "people have one score here, so evaluate this file with xtcocotools"
        )
    flat = [value for field in fields for value in row[field]]
    if len(flat) != 3 * skeleton.size:
        raise ValueError(
            f"row {number}, image {row['image_id']}: {len(flat) / 3:g} keypoints, "
            f"but skeleton {skeleton.name!r} has {skeleton.size}"
        )
    return flat
