"""COCO result files: conversion of poses to result records and back.

A record is one person, with `keypoints` for the body and keys such as `foot_kpts` for the other
parts, each a flat list of x, y, score. Coordinates are in image pixels. Records can also contain a
bounding box and a score per part, which `read_extras` reads.
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

CocoResult: TypeAlias = dict[str, Any]  # one JSON record; the type of a value depends on its key

RESULTS_FILE: Final = "results.json"  # in the folder of an evaluation or prediction
_PERSON_CATEGORY: Final = 1  # the only category with keypoints in COCO
_DECIMALS: Final = 3  # of coordinates; the annotations have at most two
_SCORE_DECIMALS: Final = 6  # of keypoint scores; person scores are exact, as they set the ranking


class ResultExtras(NamedTuple):
    """Areas and part scores of result records by image id, in the order of `from_coco_results`.

    An image without an entry has none.
    """

    areas: Mapping[int, np.ndarray]  # [P] of the bounding boxes, square image pixels
    scores: Mapping[int, np.ndarray]  # [P, Q] one score per part


NO_EXTRAS: Final = ResultExtras(MappingProxyType({}), MappingProxyType({}))


def to_coco_results(
    image_id: int, people: Poses, skeleton: Skeleton, *, per_part_scores: bool = False
) -> list[CocoResult]:
    """Convert the poses of one image to result records.

    Args:
        image_id: id of the image in the annotations.
        people: P people with keypoints [P, K, 3] in image pixels.
        skeleton: skeleton of the K keypoints.
        per_part_scores: whether each part is ranked by a score of its own, see
            `part_ranking_scores`; by default all parts have the person's score, as in MMPose.

    Returns:
        P records of plain Python numbers.

    Raises:
        ValueError: if a value is not finite, or the number of keypoints differs from the
            skeleton's.
    """
    validate_poses(image_id, people, skeleton)
    keypoints = _rounded(people.keypoints)
    keys = [part_score_key(part, skeleton) for part in skeleton.parts]
    part_scores = (
        part_ranking_scores(people, skeleton)
        if per_part_scores
        else people.scores[:, None].repeat(len(keys), 1)
    )
    results = []
    for points, scores in zip(keypoints, part_scores.tolist(), strict=True):
        result: CocoResult = {"image_id": int(image_id), "category_id": _PERSON_CATEGORY}
        result |= {key: points[at].ravel().tolist() for key, at in skeleton.json_keys.items()}
        results.append(result | dict(zip(keys, scores, strict=True)))
    return results


def part_score_key(part: str, skeleton: Skeleton) -> str:
    """Return the key of a part's score: "score" for the part in `keypoints`, else "PART_score"."""
    is_main = skeleton.parts[part] == skeleton.json_keys["keypoints"]
    return "score" if is_main else f"{part}_score"


def from_coco_results(results: Iterable[CocoResult], skeleton: Skeleton) -> dict[int, Poses]:
    """Convert result records to poses in image pixels by image id.

    Images without people are absent. Values are float64, so that a file is scored as written.

    Args:
        results: records of `to_coco_results`; further keys are ignored (see `read_extras`).
        skeleton: skeleton of the records.

    Raises:
        ValueError: if a record lacks a key, has the wrong number of values or one that is not
            finite.
    """
    points, scores = defaultdict(list), defaultdict(list)
    for row, result in enumerate(results):
        values = _flat_values(result, row, skeleton)
        points[result["image_id"]].append(values[:-1].reshape(skeleton.size, 3))
        scores[result["image_id"]].append(values[-1])
    return {
        image_id: Poses(np.stack(points[image_id]), np.array(scores[image_id]))
        for image_id in points
    }


def read_extras(results: Sequence[CocoResult], skeleton: Skeleton) -> ResultExtras:
    """Read bounding boxes and part scores of result records.

    Like the official evaluation, take a detection's area from its `bbox`, unless a record of the
    same image has none, and rank the detections of a part by keys such as `foot_score`, or by
    `score` where they are missing. The body is always ranked by `score`.

    Raises:
        ValueError: if a box is not left, top, width, height, or a value is not finite.
    """
    without_box = {result["image_id"] for result in results if not result.get("bbox")}
    keys = [part_score_key(part, skeleton) for part in skeleton.parts]
    areas, scores = defaultdict(list), defaultdict(list)
    for row, result in enumerate(results):
        image_id = result["image_id"]
        where = f"image {image_id}, row {row}"
        if image_id not in without_box:
            _, _, width, height = _finite_result_values(result["bbox"], 4, f"{where}: the bbox")
            areas[image_id].append(width * height)
        values = [result.get(key, result["score"]) for key in keys]
        scores[image_id].append(
            _finite_result_values(values, len(values), f"{where}: the list of part scores")
        )
    return ResultExtras(
        {image_id: np.array(values) for image_id, values in areas.items()},
        {image_id: np.stack(values) for image_id, values in scores.items()},
    )


def find_result_file(path: Path) -> Path:
    """Return the result file in the folder of an evaluation or prediction; other paths as given."""
    file = path / RESULTS_FILE
    return file if file.is_file() else path


def read_results(path: Path) -> list[CocoResult]:
    """Read the records of a result file.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is not a JSON list of objects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"result file {path} is missing; `tagpose evaluate` writes one")
    try:
        results = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a valid JSON file ({error}); write it again") from error
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise ValueError(
            f"{path} is not a result file, which is a JSON list with one object per person"
        )
    return results


def write_results(path: Path, results: Iterable[CocoResult]) -> None:
    """Write a result file atomically."""
    write_json(path, list(results))


def _rounded(keypoints: np.ndarray) -> np.ndarray:
    """Return keypoints [P, K, 3] as float64, rounded to their significant digits."""
    xy = keypoints[..., :2].astype(np.float64).round(_DECIMALS)
    score = keypoints[..., 2:].astype(np.float64).round(_SCORE_DECIMALS)
    # parts without a positive score are not evaluated, so a positive score must stay positive
    lower_bound = np.where(keypoints[..., 2:] > 0, 10.0**-_SCORE_DECIMALS, -np.inf)
    return np.concatenate([xy, np.maximum(score, lower_bound)], -1)


def _flat_values(result: CocoResult, row: int, skeleton: Skeleton) -> np.ndarray:
    """Return the values [3 * K + 1] of a record: its keypoints, part by part, and the score."""
    keys = _check_keys(result, row, skeleton)
    where = f"image {result['image_id']}, row {row}"
    try:
        values = np.array([*(v for key in keys for v in result[key]), result["score"]], np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: a coordinate or score is not a number ({error})") from error
    if len(values) != 3 * skeleton.size + 1:
        raise ValueError(
            f"{where} has {(len(values) - 1) / 3:g} keypoints, "
            f"but skeleton {skeleton.name!r} has {skeleton.size}; set skeleton= "
            "to that of the results"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: a coordinate or score is not finite; correct or remove it")
    return values


def _check_keys(result: CocoResult, row: int, skeleton: Skeleton) -> list[str]:
    """Check that a record is complete, and return the keys of its keypoints."""
    keys = list(skeleton.json_keys)
    missing = [key for key in ("image_id", "score", *keys) if key not in result]
    if missing:
        raise ValueError(
            f"row {row} has no {missing[0]!r}, which results of skeleton {skeleton.name!r} need"
        )
    if not is_int64(result["image_id"]):
        raise ValueError(f"row {row}: image_id is {result['image_id']!r}, not an integer")
    return keys


def _finite_result_values(values: object, count: int, name: str) -> np.ndarray:
    """Return values as [count] float64; raise ValueError unless they are finite numbers."""
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(f"{name} is {values}, but {count} finite numbers are required")
    return array


def make_coco_results(
    predictions: dict[int, Poses], skeleton: Skeleton, *, per_part_scores: bool
) -> list[CocoResult]:
    """Return the COCO results of all images."""
    return [
        result
        for image_id, poses in predictions.items()
        for result in to_coco_results(image_id, poses, skeleton, per_part_scores=per_part_scores)
    ]


def part_ranking_extras(predictions: Mapping[int, Poses], skeleton: Skeleton) -> ResultExtras:
    """Return the scores that rank the people of all images in each part."""
    scores = {
        image_id: part_ranking_scores(poses, skeleton)
        for image_id, poses in predictions.items()
        if len(poses.scores)
    }
    return NO_EXTRAS._replace(scores=scores)
