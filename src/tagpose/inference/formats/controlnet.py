"""The dictionary of ControlNet's and ComfyUI's pose nodes, and the image of poses on black.

Both follow DWPose in comfyui_controlnet_aux (src/custom_controlnet_aux/dwpose): keypoints with a
score below 0.3 are missing, and all others have a confidence of 1.
"""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tagpose.inference.formats.openpose import to_openpose_numbers
from tagpose.skeletons.keypoint_layouts import (
    OPENPOSE_COCO_18,
    OPENPOSE_FACE,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    convert_keypoints,
)
from tagpose.visualization.openpose_style import draw_openpose

if TYPE_CHECKING:  # results.py imports this module
    from tagpose.inference.results import PoseResult

MIN_SCORE: Final = 0.3  # as in DWPose
# COCO-WholeBody has no pupils; as in DWPose, they are replaced by the eyes of the body.
_PUPILS: Final = [OPENPOSE_FACE.keypoints.index(f"{side}Pupil") for side in "RL"]
_EYES: Final = [OPENPOSE_COCO_18.keypoints.index(f"{side}Eye") for side in "RL"]


class ControlNetPoses(NamedTuple):
    """Keypoints as ControlNet draws them: x, y in image pixels and 1, or 0, 0, 0 if missing."""

    body: np.ndarray  # [P, 18, 3]
    face: np.ndarray  # [P, 70, 3]
    left_hand: np.ndarray  # [P, 21, 3]
    right_hand: np.ndarray  # [P, 21, 3]


def to_controlnet_poses(result: "PoseResult", min_score: float = MIN_SCORE) -> ControlNetPoses:
    """Convert the people in an image to ControlNet's layout, without those that have no keypoints.

    Args:
        result: predictions for the image.
        min_score: score below which keypoints are dropped.
    """
    layouts = OPENPOSE_COCO_18, OPENPOSE_FACE, OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND
    parts = [convert_keypoints(result.keypoints, result.skeleton, layout) for layout in layouts]
    body, face = parts[:2]
    has_face = face[..., 2].max(1, initial=0) >= min_score  # [P]
    face[:, _PUPILS] = np.where(has_face[:, None, None], body[:, _EYES], 0)
    for part in parts:
        present = part[..., 2:] >= min_score
        part[:] = np.where(present, np.concatenate([part[..., :2], np.ones_like(present)], -1), 0)
    not_empty = np.concatenate([part[..., 2] for part in parts], 1).any(1)
    return ControlNetPoses(*(part[not_empty] for part in parts))


def to_controlnet(result: "PoseResult", min_score: float = MIN_SCORE) -> dict[str, Any]:
    """Convert the people in an image to the dictionary that ControlNet's pose nodes exchange.

    Args:
        result: predictions for the image.
        min_score: score below which keypoints are dropped.

    Returns:
        Dictionary of plain numbers: people with 18 keypoints of the body, 70 of the face (the last
        two are the eyes of the body) and 21 of each hand, and the size of the canvas. A face or a
        hand without any keypoint is None; a body never is, because the nodes do not check for it.
    """
    poses = to_controlnet_poses(result, min_score)
    people = [
        {
            "pose_keypoints_2d": to_openpose_numbers(body),
            "face_keypoints_2d": _flat_or_none(face),
            "hand_left_keypoints_2d": _flat_or_none(left),
            "hand_right_keypoints_2d": _flat_or_none(right),
        }
        for body, face, left, right in zip(*poses, strict=True)
    ]
    width, height = result.size
    return {"people": people, "canvas_height": height, "canvas_width": width}


def to_dwpose_image(result: "PoseResult", min_score: float = MIN_SCORE) -> np.ndarray:
    """Draw the people in an image on black, in the colors that ControlNet's networks expect.

    Args:
        result: predictions for the image.
        min_score: score below which keypoints are dropped.

    Returns:
        [H, W, 3] uint8 RGB in the size of the image.
    """
    width, height = result.size
    canvas = np.zeros((height, width, 3), np.uint8)
    for body, face, left, right in zip(*to_controlnet_poses(result, min_score), strict=True):
        draw_openpose(canvas, body, face, (left, right))
    return canvas


def _flat_or_none(keypoints: np.ndarray) -> list[float] | None:
    """Return keypoints [Q, 3] as a flat list, or None if all are missing."""
    return to_openpose_numbers(keypoints) if keypoints[:, 2].any() else None
