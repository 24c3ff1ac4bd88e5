"""OpenPose's JSON: one dictionary per image or frame, as `--write_json` writes it.

The layout is that of OpenPose's documentation (doc/02_output.md): 25 or 18 keypoints of the body,
70 of the face and 21 of each hand, each x, y, confidence in image pixels, 0, 0, 0 where missing.
"""

from typing import TYPE_CHECKING, Any, Final

from tagpose.inference.formats.numbers import flat
from tagpose.skeleton_maps import (
    OPENPOSE_BODY_25,
    OPENPOSE_FACE,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    Layout,
    convert,
)

if TYPE_CHECKING:  # whose methods call this
    from tagpose.inference.found import Found

_VERSION: Final = 1.3
_NO_TRACK: Final = -1  # OpenPose's number of people who are not followed


def to_openpose(found: "Found", body: Layout = OPENPOSE_BODY_25) -> dict[str, Any]:
    """Return the people of an image in OpenPose's JSON format.

    Args:
        found: predictions for the image.
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
        key: convert(found.keypoints, found.skeleton, layout)
        for key, layout in columns.items()
        if any(layout.indices(found.skeleton))
    }
    tracks = found.tracks or (None,) * len(found.scores)
    people = [
        {
            "person_id": [_NO_TRACK if track is None else track],
            **{key: flat(keypoints[key][p]) if key in keypoints else [] for key in columns},
            **{key.replace("2d", "3d"): [] for key in columns},
        }
        for p, track in enumerate(tracks)
    ]
    return {"version": _VERSION, "people": people}
