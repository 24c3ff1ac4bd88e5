"""OpenPose's JSON: one dictionary per image or frame, as `--write_json` writes it.

The layout is that of OpenPose's documentation (doc/02_output.md): 25 or 18 keypoints of the body,
70 of the face and 21 of each hand, each x, y, confidence in image pixels, 0, 0, 0 where missing.
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

# MERGED: """Keypoints as flat lists of short numbers, as JSON formats have them."""
if TYPE_CHECKING:  # whose methods call this
    from tagpose.inference.results import PoseResult

_VERSION: Final = 1.3
_NO_TRACK: Final = -1  # OpenPose's number of people who are not followed


def to_openpose(result: "PoseResult", body: KeypointLayout = OPENPOSE_BODY_25) -> dict[str, Any]:
    """Return the people of an image in OpenPose's JSON format.

    Args:
        result: predictions for the image.
        body: `OPENPOSE_BODY_25` or `OPENPOSE_COCO_18`. The neck is the mean of the shoulders, the
            middle of the hips that of the hips.

    Returns:
        Dictionary of plain numbers; its list `people` is empty if there are none. The pupils of
        the face are missing, and a part that the skeleton lacks is an empty list.
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
                key: flatten_keypoints(keypoints[key][p]) if key in keypoints else []
                for key in columns
            },
            **{key.replace("2d", "3d"): [] for key in columns},
        }
        for p, track in enumerate(tracks)
    ]
    return {"version": _VERSION, "people": people}


_DECIMALS: Final = 2  # of image pixels, more than a network knows
_SCORE_DECIMALS: Final = 4


def flatten_keypoints(keypoints: np.ndarray) -> list[float]:
    """Return keypoints [Q, 3] as a list x0, y0, score0, x1, ... [3 * Q].

    Coordinates are rounded to hundredths of a pixel, scores to four decimals and at most 1, and
    whole numbers have no decimals, so that a missing keypoint is 0, 0, 0.
    """
    points = keypoints.astype(np.float64)
    points[:, :2] = points[:, :2].round(_DECIMALS)
    points[:, 2] = points[:, 2].clip(max=1).round(_SCORE_DECIMALS)
    return [int(value) if value.is_integer() else value for value in points.ravel().tolist()]
