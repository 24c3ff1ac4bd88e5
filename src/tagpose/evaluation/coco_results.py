"""This file turns people into results of the official result format, and results back into people.

One result is one person, with `keypoints` for the body and `foot_kpts` and the like for the other
parts, each a flat list of x, y, score. Coordinates are in image pixels.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from tagpose.evaluation.predictions import part_ranking_scores, validate_poses
from tagpose.io import write_json
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses, is_int64

# MERGED: """This file reads what a result file says of its people beside their keypoints and score."""
CocoResult: TypeAlias = dict[str, Any]  # JSON: what a key holds depends on the key

_PERSON_CATEGORY: Final = 1  # the one category of COCO keypoints
_DECIMALS: Final = 3  # of coordinates; the annotations have at most two
_SCORE_DECIMALS: Final = 6  # of keypoints; a person's own score keeps all, it decides the order


def to_coco_results(
    image_id: int, people: Poses, skeleton: Skeleton, *, per_part_scores: bool = False
) -> list[CocoResult]:
    """Rows of one image's people.

    Args:
        image_id: of the image, as in the annotations.
        people: P people with keypoints [P, K, 3] in image pixels.
        skeleton: that has K keypoints.
        per_part_scores: whether each part has a score of its own, see `part_ranking_scores`; by default all have
            the person's (the classic rule).

    Returns:
        P results of plain Python numbers.

    Raises:
        ValueError: a number is not finite, or the skeleton has another number of keypoints.
    """
    validate_poses(image_id, people, skeleton)
    keypoints = _rounded(people.keypoints)
    keys = [part_score_key(part, skeleton) for part in skeleton.parts]
    ranks = (
        part_ranking_scores(people, skeleton)
        if per_part_scores
        else people.scores[:, None].repeat(len(keys), 1)
    )
    results = []
    for points, scores in zip(keypoints, ranks.tolist(), strict=True):
        result: CocoResult = {"image_id": int(image_id), "category_id": _PERSON_CATEGORY}
        result |= {field: points[at].ravel().tolist() for field, at in skeleton.json_keys.items()}
        results.append(result | dict(zip(keys, scores, strict=True)))
    return results


def part_score_key(part: str, skeleton: Skeleton) -> str:
    """Where a result says how sure a part of a person is; of what `keypoints` holds, as a whole."""
    whole = skeleton.parts[part] == skeleton.json_keys["keypoints"]
    return "score" if whole else f"{part}_score"


def from_coco_results(results: Iterable[CocoResult], skeleton: Skeleton) -> dict[int, Poses]:
    """Poses in image pixels by image id; images without results are absent.

    Numbers are float64, so that a file is scored as it stands.

    Args:
        results: as `to_coco_results` makes them; other keys are not looked at (`claims` reads them).
        skeleton: whose parts are read.

    Raises:
        ValueError: a result lacks a field, has too few numbers or one that is not finite.
    """
    points, scores = defaultdict(list), defaultdict(list)
    for place, result in enumerate(results):
        flat = _flat_numbers(result, place, skeleton)
        points[result["image_id"]].append(flat[:-1].reshape(skeleton.size, 3))
        scores[result["image_id"]].append(flat[-1])
    return {at: Poses(np.stack(points[at]), np.array(scores[at])) for at in points}


def read_results(path: Path) -> list[CocoResult]:
    """Rows of a result file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a JSON list of objects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"result file {path} is missing; `make evaluate` writes one")
    try:
        results = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise ValueError(f"{path}: a result file is a JSON list of objects, one per person")
    return results


def write_results(path: Path, results: Iterable[CocoResult]) -> None:
    """Write a result file, whole or not at all."""
    write_json(path, list(results))


def _rounded(keypoints: np.ndarray) -> np.ndarray:
    """Keypoints [P, K, 3] float64 with as many digits as mean something."""
    xy = keypoints[..., :2].astype(np.float64).round(_DECIMALS)
    score = keypoints[..., 2:].astype(np.float64).round(_SCORE_DECIMALS)
    # a part without a score above 0 is not evaluated, so none may be rounded down to that
    least = np.where(keypoints[..., 2:] > 0, 10.0**-_SCORE_DECIMALS, -np.inf)
    return np.concatenate([xy, np.maximum(score, least)], -1)


def _flat_numbers(result: CocoResult, place: int, skeleton: Skeleton) -> np.ndarray:
    """The numbers [3 * K + 1] of a result: part behind part, and the score."""
    fields = _keypoint_keys(result, place, skeleton)
    here = f"image {result['image_id']}, row {place}"
    try:
        flat = np.array(
            [*(v for field in fields for v in result[field]), result["score"]], np.float64
        )
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


def _keypoint_keys(result: CocoResult, place: int, skeleton: Skeleton) -> list[str]:
    """The keys of the keypoints, after a look at the others."""
    fields = list(skeleton.json_keys)
    absent = [field for field in ("image_id", "score", *fields) if field not in result]
    if absent:
        raise ValueError(f"row {place} has no {absent[0]!r}; skeleton {skeleton.name!r} wants it")
    if not is_int64(result["image_id"]):
        raise ValueError(f"row {place}: image_id is {result['image_id']!r}, not a whole number")
    return fields


class ResultExtras(NamedTuple):
    """By image id, in the order of `from_rows`; an image without an entry claims nothing."""

    areas: Mapping[int, np.ndarray]  # [P] of the boxes, square image pixels
    scores: Mapping[int, np.ndarray]  # [P, Q] a score for each part


NO_EXTRAS: Final = ResultExtras(MappingProxyType({}), MappingProxyType({}))


def read_extras(results: Sequence[CocoResult], skeleton: Skeleton) -> ResultExtras:
    """What results claim.

    Where results have a `bbox`, the official evaluation takes a detection's area from it; images with
    a result that has none are left out. Where they have a `foot_score` and the like, it ranks the
    detections of that part by them, and by the `score` elsewhere; the body has no other than that.

    Raises:
        ValueError: a box is not left, top, width, height, or a number is not finite.
    """
    without = {result["image_id"] for result in results if not result.get("bbox")}
    areas, scores = defaultdict(list), defaultdict(list)
    for place, result in enumerate(results):
        here = f"image {result['image_id']}, row {place}"
        if result["image_id"] not in without:
            _, _, width, height = _finite_numbers(result["bbox"], 4, f"{here}: the bbox")
            areas[result["image_id"]].append(width * height)
        keys = [part_score_key(part, skeleton) for part in skeleton.parts]
        value = [result.get(key, result["score"]) for key in keys]
        scores[result["image_id"]].append(
            _finite_numbers(value, len(value), f"{here}: the scores of parts")
        )
    return ResultExtras(
        {image_id: np.array(some) for image_id, some in areas.items()},
        {image_id: np.stack(some) for image_id, some in scores.items()},
    )


def _finite_numbers(numbers: object, count: int, what: str) -> np.ndarray:
    """Numbers [count] float64."""
    try:
        values = np.array(numbers, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{what}: {numbers}, not {count} finite numbers")
    return values
