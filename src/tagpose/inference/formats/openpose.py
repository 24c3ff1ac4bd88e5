"""OpenPose's JSON format: one dictionary per image or frame, as `--write_json` writes it.

The format follows OpenPose's documentation (doc/02_output.md): 25 or 18 keypoints of the body, 70
of the face and 21 of each hand, each x, y, confidence in image pixels, or 0, 0, 0 if missing.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tagpose.skeletons.keypoint_layouts import (
    OPENPOSE_BODY_25,
    OPENPOSE_FACE,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    KeypointLayout,
    convert_keypoints,
)

if TYPE_CHECKING:  # results.py imports this module
    from tagpose.inference.results import PoseResult

COORDINATE_DECIMALS: Final = 2  # of coordinates in image pixels; predictions are less precise
SCORE_DECIMALS: Final = 4
_VERSION: Final = 1.3
_NO_TRACK: Final = -1  # OpenPose's person_id without tracking


def to_openpose(result: "PoseResult", body: KeypointLayout = OPENPOSE_BODY_25) -> dict[str, Any]:
    """Convert the people in an image to OpenPose's JSON format.

    Args:
        result: predictions for the image.
        body: `OPENPOSE_BODY_25` or `OPENPOSE_COCO_18`. The neck is the mean of the shoulders, and
            the mid-hip the mean of the hips.

    Returns:
        Dictionary of plain numbers, with an empty list `people` if there are none. The pupils of
        the face are missing, and parts that the skeleton lacks are empty lists.
    """
    columns = {
        "pose_keypoints_2d": body,
        "face_keypoints_2d": OPENPOSE_FACE,
        "hand_left_keypoints_2d": OPENPOSE_LEFT_HAND,
        "hand_right_keypoints_2d": OPENPOSE_RIGHT_HAND,
    }
    keypoints = {
        key: convert_keypoints(result.keypoints, result.skeleton, layout)
        for key, layout in columns.items()
        if any(layout.indices(result.skeleton))
    }
    tracks = result.tracks or (None,) * len(result.scores)
    people = [
        {
            "person_id": [_NO_TRACK if track is None else track],
            **{
                key: to_openpose_numbers(keypoints[key][p]) if key in keypoints else []
                for key in columns
            },
            **{key.replace("2d", "3d"): [] for key in columns},
        }
        for p, track in enumerate(tracks)
    ]
    return {"version": _VERSION, "people": people}


def to_openpose_numbers(keypoints: np.ndarray) -> list[float]:
    """Return keypoints [Q, 3] as a list x0, y0, score0, x1, ... [3 * Q] of short numbers.

    Coordinates are rounded to hundredths of a pixel, and scores to four decimals and at most 1.
    Integers have no decimals, so that a missing keypoint is 0, 0, 0.
    """
    points = keypoints.astype(np.float64)
    points[:, :2] = points[:, :2].round(COORDINATE_DECIMALS)
    points[:, 2] = points[:, 2].clip(max=1).round(SCORE_DECIMALS)
    return [int(value) if value.is_integer() else value for value in points.ravel().tolist()]
