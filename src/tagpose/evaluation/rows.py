"""This file turns people into rows of the official result format, and rows back into people.

One row is one person, with `keypoints` for the body and `foot_kpts` and the like for the other
limbs, each a flat list of x, y, score. Coordinates are in image pixels.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from tagpose.evaluation.ranking import part_ranks
from tagpose.evaluation.refusal import check_people
from tagpose.skeleton import Skeleton
from tagpose.structures import People, is_whole
from tagpose.writing import whole

Row: TypeAlias = dict[str, Any]  # JSON: what a key holds depends on the key

_PERSON: Final = 1  # the one category of COCO keypoints
_DECIMALS: Final = 3  # of coordinates; the annotations have at most two
_SCORE_DECIMALS: Final = 6  # of keypoints; a person's own score keeps all, it decides the order


def to_rows(
    image_id: int, people: People, skeleton: Skeleton, *, by_part: bool = False
) -> list[Row]:
    """Rows of one image's people.

    Args:
        image_id: of the image, as in the annotations.
        people: P people with keypoints [P, K, 3] in image pixels.
        skeleton: that has K keypoints.
        by_part: whether each part has a score of its own, see `part_ranks`; by default all have
            the person's (the classic rule).

    Returns:
        P rows of plain Python numbers.

    Raises:
        ValueError: a number is not finite, or the skeleton has another number of keypoints.
    """
    check_people(image_id, people, skeleton)
    keypoints = _rounded(people.keypoints)
    keys = [score_key(part, skeleton) for part in skeleton.parts]
    ranks = part_ranks(people, skeleton) if by_part else people.scores[:, None].repeat(len(keys), 1)
    rows = []
    for points, scores in zip(keypoints, ranks.tolist(), strict=True):
        row: Row = {"image_id": int(image_id), "category_id": _PERSON}
        row |= {field: points[at].ravel().tolist() for field, at in skeleton.fields.items()}
        rows.append(row | dict(zip(keys, scores, strict=True)))
    return rows


def score_key(part: str, skeleton: Skeleton) -> str:
    """Where a row says how sure a part of a person is; of what `keypoints` holds, as a whole."""
    whole = skeleton.parts[part] == skeleton.fields["keypoints"]
    return "score" if whole else f"{part}_score"


def from_rows(rows: Iterable[Row], skeleton: Skeleton) -> dict[int, People]:
    """People in image pixels by image id; images without rows are absent.

    Numbers are float64, so that a file is scored as it stands.

    Args:
        rows: as `to_rows` makes them; other keys are not looked at (`claims` reads them).
        skeleton: whose limbs are read.

    Raises:
        ValueError: a row lacks a field, has too few numbers or one that is not finite.
    """
    points, scores = defaultdict(list), defaultdict(list)
    for place, row in enumerate(rows):
        flat = _numbers(row, place, skeleton)
        points[row["image_id"]].append(flat[:-1].reshape(skeleton.size, 3))
        scores[row["image_id"]].append(flat[-1])
    return {at: People(np.stack(points[at]), np.array(scores[at])) for at in points}


def read_rows(path: Path) -> list[Row]:
    """Rows of a result file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a JSON list of objects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"result file {path} is missing; `make evaluate` writes one")
    try:
        rows = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: a result file is a JSON list of objects, one per person")
    return rows


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a result file, whole or not at all."""
    write_json(path, list(rows))


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, whole or not at all, and make its folder.

    Raises:
        ValueError: a number in it is not finite, which JSON has no word for.
    """
    with whole(Path(path)) as partial:
        partial.write_text(json.dumps(content, allow_nan=False))


def _rounded(keypoints: np.ndarray) -> np.ndarray:
    """Keypoints [P, K, 3] float64 with as many digits as mean something."""
    xy = keypoints[..., :2].astype(np.float64).round(_DECIMALS)
    score = keypoints[..., 2:].astype(np.float64).round(_SCORE_DECIMALS)
    # a part without a score above 0 is not evaluated, so none may be rounded down to that
    least = np.where(keypoints[..., 2:] > 0, 10.0**-_SCORE_DECIMALS, -np.inf)
    return np.concatenate([xy, np.maximum(score, least)], -1)


def _numbers(row: Row, place: int, skeleton: Skeleton) -> np.ndarray:
    """The numbers [3 * K + 1] of a row: limb behind limb, and the score."""
    fields = _fields(row, place, skeleton)
    here = f"image {row['image_id']}, row {place}"
    try:
        flat = np.array([*(v for field in fields for v in row[field]), row["score"]], np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{here}: a coordinate or score is not a number ({error})") from error
    if len(flat) != 3 * skeleton.size + 1:
        raise ValueError(
            f"{here}: {(len(flat) - 1) / 3:g} keypoints, "
            f"but skeleton {skeleton.name!r} has {skeleton.size}"
        )
    if not np.isfinite(flat).all():
        raise ValueError(f"{here}: a coordinate or score is not finite")
    return flat


def _fields(row: Row, place: int, skeleton: Skeleton) -> list[str]:
    """The keys of the keypoints, after a look at the others."""
    fields = list(skeleton.fields)
    absent = [field for field in ("image_id", "score", *fields) if field not in row]
    if absent:
        raise ValueError(f"row {place} has no {absent[0]!r}; skeleton {skeleton.name!r} wants it")
    if not is_whole(row["image_id"]):
        raise ValueError(f"row {place}: image_id is {row['image_id']!r}, not a whole number")
    return fields
