"""The pose dictionary of ControlNet's and ComfyUI's pose nodes, and their picture on black.

Both follow DWPose in comfyui_controlnet_aux (src/custom_controlnet_aux/dwpose): keypoints below 0.3
are missing, and all others count alike, so their confidence is 1.
"""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tagpose.inference.formats.openpose import flatten_keypoints
from tagpose.skeletons.keypoint_layouts import (
    OPENPOSE_COCO_18,
    OPENPOSE_FACE,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    convert_keypoints,
)
from tagpose.visualization.openpose_style import draw_openpose

if TYPE_CHECKING:  # whose methods call this
    from tagpose.inference.results import PoseResult

MIN_SCORE: Final = 0.3  # DWPose's
# The face has no pupils; as in DWPose, the eyes of the body take their places.
_PUPILS: Final = [OPENPOSE_FACE.keypoints.index(f"{side}Pupil") for side in "RL"]
_EYES: Final = [OPENPOSE_COCO_18.keypoints.index(f"{side}Eye") for side in "RL"]


class ControlNetPoses(NamedTuple):
    """People as ControlNet draws them: x, y in image pixels and 1, or 0, 0, 0 where missing."""

    body: np.ndarray  # [P, 18, 3]
    face: np.ndarray  # [P, 70, 3]
    left_hand: np.ndarray  # [P, 21, 3]
    right_hand: np.ndarray  # [P, 21, 3]


def to_controlnet_poses(result: "PoseResult", min_score: float = MIN_SCORE) -> ControlNetPoses:
    """Return the people of an image in ControlNet's layout, without those who have no keypoint.

    Args:
        result: predictions for the image.
        min_score: score below which a keypoint is missing.
    """
    layouts = OPENPOSE_COCO_18, OPENPOSE_FACE, OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND
    parts = [convert_keypoints(result.keypoints, result.skeleton, layout) for layout in layouts]
    body, face = parts[:2]
    has_face = face[..., 2].max(1, initial=0) >= min_score  # [P]
    face[:, _PUPILS] = np.where(has_face[:, None, None], body[:, _EYES], 0)
    for part in parts:
        here = part[..., 2:] >= min_score
        part[:] = np.where(here, np.concatenate([part[..., :2], np.ones_like(here)], -1), 0)
    anything = np.concatenate([part[..., 2] for part in parts], 1).any(1)
    return ControlNetPoses(*(part[anything] for part in parts))


def to_controlnet(result: "PoseResult", min_score: float = MIN_SCORE) -> dict[str, Any]:
    """Return the people of an image as the dictionary that ControlNet's pose nodes exchange.

    Args:
        result: predictions for the image.
        min_score: score below which a keypoint is missing.

    Returns:
        Dictionary of plain numbers: people with 18 keypoints of the body, 70 of the face (the last
        two are the eyes of the body) and 21 of each hand, and the size of the canvas. A face or a
        hand without any keypoint is None; a body is not, because the nodes draw it unasked.
    """
    columns = to_controlnet_poses(result, min_score)
    people = [
        {
            "pose_keypoints_2d": flatten_keypoints(body),
            "face_keypoints_2d": _flat_or_none(face),
            "hand_left_keypoints_2d": _flat_or_none(left),
            "hand_right_keypoints_2d": _flat_or_none(right),
        }
        for body, face, left, right in zip(*columns, strict=True)
    ]
    width, height = result.size
    return {"people": people, "canvas_height": height, "canvas_width": width}


def to_dwpose_image(result: "PoseResult", min_score: float = MIN_SCORE) -> np.ndarray:
    """Draw the people of an image on black, in the colors that ControlNet's networks expect.

    Args:
        result: predictions for the image.
        min_score: score below which a keypoint is missing.

    Returns:
        [H, W, 3] uint8 RGB of the image's size.
    """
    width, height = result.size
    picture = np.zeros((height, width, 3), np.uint8)
    for body, face, left, right in zip(*to_controlnet_poses(result, min_score), strict=True):
        draw_openpose(picture, body, face, (left, right))
    return picture


def _flat_or_none(keypoints: np.ndarray) -> list[float] | None:
    """Keypoints [Q, 3] as a flat list, or None if all are missing."""
    return flatten_keypoints(keypoints) if keypoints[:, 2].any() else None
