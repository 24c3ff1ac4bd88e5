"""OpenPose folders as result files: one JSON file per image, as `--write_json` writes them.

The format is that of OpenPose's documentation (doc/02_output.md), see `to_openpose` for the inverse
conversion.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tagpose.data.issues import emit_warnings
from tagpose.evaluation.coco_results import (
    CocoResult,
    find_result_file,
    read_results,
    to_coco_results,
)
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.image_ids import find_image_id, ids_by_file_name, match_image_ids
from tagpose.skeletons.keypoint_layouts import (
    OPENPOSE_BODY_25,
    OPENPOSE_COCO_18,
    OPENPOSE_FACE,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    KeypointLayout,
)
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

_BODY_KEY: Final = "pose_keypoints_2d"
# layouts that a key may have; the number of keypoints determines which one it is
_LAYOUTS: Final[Mapping[str, tuple[KeypointLayout, ...]]] = {
    _BODY_KEY: (OPENPOSE_BODY_25, OPENPOSE_COCO_18),
    "face_keypoints_2d": (OPENPOSE_FACE,),
    "hand_left_keypoints_2d": (OPENPOSE_LEFT_HAND,),
    "hand_right_keypoints_2d": (OPENPOSE_RIGHT_HAND,),
}
_PIFPAF_HINT: Final = (
    "a result file has an image_id for each person, unlike OpenPifPaf's files of one image; "
    "`python -m openpifpaf.eval --write-predictions` writes a result file of a dataset"
)
_SUFFIX: Final = "_keypoints"  # of OpenPose's file names, after the name of the image


def read_matched_results(
    path: Path, ground_truth: GroundTruth, skeleton: Skeleton
) -> list[CocoResult]:
    """Read a result file, its folder or an OpenPose folder, with the image ids of the ground truth.

    Args:
        path: JSON file in COCO's result format, the folder of `tagpose evaluate` or
            `tagpose predict` with this file, or folder of OpenPose's JSON files.
        ground_truth: ground truth with the names of its image files.
        skeleton: skeleton of the results.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the content is not of either kind, or of other images.
    """
    path = find_result_file(path)
    if path.is_dir():
        return read_openpose_folder(path, ground_truth, skeleton)
    results = read_results(path)
    if results and all("image_id" not in result for result in results):
        raise ValueError(f"{path} has no image_id in any record; {_PIFPAF_HINT}")
    return match_image_ids(results, ground_truth, path)


def read_openpose_folder(
    folder: Path, ground_truth: GroundTruth, skeleton: Skeleton
) -> list[CocoResult]:
    """Read the people of an OpenPose folder as result records.

    OpenPose has no person score, so it is the mean score of the keypoints of the body, missing
    ones included. Keypoints without a value are at 0, 0 with score 0; a warning counts them.

    Args:
        folder: folder of files IMAGE_keypoints.json or IMAGE.json.
        ground_truth: ground truth with the names of its image files.
        skeleton: skeleton whose keypoints OpenPose has.

    Raises:
        ValueError: the folder has no JSON file, a file is not OpenPose's or not of an image of the
            ground truth, or the skeleton has other keypoints.
    """
    _check_skeleton(skeleton)
    files = sorted(file for file in folder.glob("*.json") if not file.name.startswith("."))
    if not files:
        raise ValueError(
            f"{folder} has no JSON files; set results= to a result file in COCO's format, or to a "
            "folder with one OpenPose file per image"
        )
    poses = {file: _read_people(file, skeleton) for file in files}
    _check_pixels(folder, list(poses.values()))
    known_ids, ids = set(ground_truth.image_ids.tolist()), ids_by_file_name(ground_truth)
    results: list[CocoResult] = []
    for file, keypoints in poses.items():
        image_id = find_image_id(file.stem.removesuffix(_SUFFIX), ids, known_ids)
        if image_id is None:
            raise ValueError(
                f"{file} is not of an image of the ground truth; remove it, or name it like the "
                f"image (NAME{_SUFFIX}.json for NAME.jpg)"
            )
        scores = keypoints[:, skeleton.json_keys["keypoints"], 2].mean(1)
        results += to_coco_results(image_id, Poses(keypoints, scores), skeleton)
    emit_warnings(_describe_absent(folder, list(poses.values()), skeleton))
    return results


def _check_skeleton(skeleton: Skeleton) -> None:
    """Check that OpenPose has all keypoints of a skeleton."""
    available = {
        sources[0]
        for layouts in _LAYOUTS.values()
        for sources in layouts[0].sources
        if len(sources) == 1
    }
    missing = [name for name in skeleton.keypoints if name not in available]
    if missing:
        raise ValueError(
            f"OpenPose has no {', '.join(missing[:5])}{', ...' * (len(missing) > 5)}, which the "
            f"skeleton {skeleton.name!r} needs; write a result file in COCO's format instead of a "
            "folder, or use skeleton=body or skeleton=wholebody"
        )


def _read_people(file: Path, skeleton: Skeleton) -> np.ndarray:
    """Return the keypoints [P, K, 3] of the people in a file."""
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not a valid JSON file ({error}); write it again") from error
    if isinstance(content, list):
        raise ValueError(f"{file} is a list, not an OpenPose file; {_PIFPAF_HINT}")
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError(
            f"{file} has no list of people; a folder of results has one OpenPose file per image"
        )
    keypoints = np.zeros((len(people), skeleton.size, 3))
    for p, person in enumerate(people):
        for key, layouts in _LAYOUTS.items():
            values = _parse_values(person.get(key), f"{file}: person {p}", key)
            layout = next((layout for layout in layouts if layout.size == len(values)), None)
            if layout:
                keypoints[p] += _reorder(values, layout, skeleton)
            elif len(values):
                expected = " or ".join(f"{layout.size}" for layout in layouts)
                raise ValueError(
                    f"{file}: person {p} has {len(values)} keypoints in {key}, not {expected}; use "
                    "OpenPose's model BODY_25 or COCO, or a result file in COCO's format"
                )
    return keypoints


def _parse_values(values: Any, where: str, key: str) -> np.ndarray:
    """Return the keypoints [Q, 3] of a list x0, y0, score0, ..., which may be missing."""
    try:
        array = np.array(values or [], np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim != 1 or len(array) % 3 or not np.isfinite(array).all():
        raise ValueError(f"{where}: {key} is not a list of x, y, score as finite numbers; fix it")
    points = array.reshape(-1, 3)
    return np.where(points[:, 2:] > 0, points, 0)


def _reorder(values: np.ndarray, layout: KeypointLayout, skeleton: Skeleton) -> np.ndarray:
    """Return keypoints [Q, 3] of a layout as keypoints [K, 3] of a skeleton, 0 where it lacks them.

    Means of several keypoints, such as the neck, are dropped.
    """
    keypoints = np.zeros((skeleton.size, 3))
    for value, indices in zip(values, layout.indices(skeleton), strict=True):
        if len(indices) == 1:
            keypoints[indices[0]] = value
    return keypoints


def _check_pixels(folder: Path, poses: list[np.ndarray]) -> None:
    """Check that the coordinates are not normalized to 0 to 1."""
    present = [points[..., :2][points[..., 2] > 0] for points in poses]
    xy = np.concatenate(present)
    if len(xy) and np.abs(xy).max() <= 1:
        raise ValueError(
            f"{folder} has coordinates between {xy.min():g} and {xy.max():g} only, not in image "
            "pixels; run OpenPose with --keypoint_scale 0"
        )


def _describe_absent(folder: Path, poses: list[np.ndarray], skeleton: Skeleton) -> Iterator[str]:
    """Yield a warning about keypoints that no person of any file has."""
    scores = np.concatenate([points[..., 2] for points in poses])  # [P, K]
    absent = np.logical_not((scores > 0).any(axis=0, keepdims=True))[0]  # [K]
    if len(scores) and absent.any():
        parts = [
            f"{int(absent[at].sum())} of {part}"
            for part, at in skeleton.disjoint_parts.items()
            if absent[at].any()
        ]
        yield (
            f"{folder}: {int(absent.sum())} of {skeleton.size} keypoints are missing in all "
            f"{len(scores)} people ({', '.join(parts)}) and count as wrong; run OpenPose with "
            "--face and --hand, or score with skeleton=body"
        )
