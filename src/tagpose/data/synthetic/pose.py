"""Random poses: keypoint positions of a stick figure.

The unit of length is the height of the standing figure, x points right, y points down, and the
pelvis is the origin. The left side of a figure seen from the front is on the right of the image.
"""

from typing import Final, NamedTuple

import numpy as np

from tagpose.skeletons.coco import FACE_CONTOURS, WHOLEBODY

Random = np.random.Generator

KEYPOINT_INDEX: Final = {name: k for k, name in enumerate(WHOLEBODY.keypoints)}

# Body proportions; head and hands are enlarged, so that they are visible in small images.
_HIP, _SHOULDER, _TRUNK, _NECK = 0.06, 0.115, 0.3, 0.05
_UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.17, 0.15, 0.23, 0.22
HEAD_SIZE: Final = np.array([0.085, 0.105])  # half width, half height
_HAND = 0.1


class StickFigure(NamedTuple):
    """A posed figure."""

    points: np.ndarray  # [K, 2]
    neck: np.ndarray  # [2]
    head: np.ndarray  # [2] center of the head
    tilt: float  # of the head, in radians
    yaw: float  # of the head, in radians
    from_behind: bool


def random_pose(random: Random) -> StickFigure:
    """Draw a figure in a random, anatomically possible pose."""
    from_behind = random.random() < 0.1
    left_sign = -1.0 if from_behind else 1.0  # 1 if the figure's left is on the right of the image
    lean = random.normal(0, 0.08)
    points = np.zeros((WHOLEBODY.size, 2))
    up = np.array([np.sin(lean), -np.cos(lean)])
    across = np.array([np.cos(lean), np.sin(lean)])
    neck = up * _TRUNK
    sitting = random.random() < 0.15
    for name, sign in (("left", left_sign), ("right", -left_sign)):
        points[KEYPOINT_INDEX[f"{name}_shoulder"]] = neck + across * sign * _SHOULDER
        points[KEYPOINT_INDEX[f"{name}_hip"]] = across * sign * _HIP
        _pose_arm(points, name, sign, random)
        _pose_leg(points, name, sign, random, sitting=sitting)
    tilt, yaw = lean + random.normal(0, 0.12), random.normal(0, 0.3)
    head_up = np.array([np.sin(tilt), -np.cos(tilt)])
    head = neck + head_up * (_NECK + HEAD_SIZE[1])
    _pose_head(points, head, tilt, yaw, from_behind=from_behind)
    return StickFigure(points, neck, head, tilt, yaw, from_behind)


def _direction(angle: float) -> np.ndarray:
    """Return the unit vector [2] at an angle from straight down, positive to the right."""
    return np.array([np.sin(angle), np.cos(angle)])


def _pose_arm(points: np.ndarray, name: str, sign: float, random: Random) -> None:
    """Set elbow, wrist and hand of a hanging, spread or raised arm."""
    upper = sign * random.choice(
        [random.uniform(0.1, 0.6), random.uniform(0.6, 1.6), random.uniform(1.6, 2.7)],
        p=[0.5, 0.3, 0.2],
    )
    bend = sign * random.uniform(-0.2, 1.9)
    if abs(upper) <= 0.7:  # a hanging arm bends slightly, in either direction
        bend *= random.choice([-0.6, 0.7])
    shoulder = points[KEYPOINT_INDEX[f"{name}_shoulder"]]
    elbow = shoulder + _UPPER_ARM * _direction(upper)
    wrist = elbow + _FOREARM * _direction(upper + bend)
    points[KEYPOINT_INDEX[f"{name}_elbow"]], points[KEYPOINT_INDEX[f"{name}_wrist"]] = elbow, wrist
    hand = WHOLEBODY.parts[f"{name}hand"]
    points[hand] = _pose_hand(wrist, upper + bend + random.normal(0, 0.25), sign, random)


def _pose_hand(wrist: np.ndarray, angle: float, sign: float, random: Random) -> np.ndarray:
    """Return the keypoints [21, 2] of a hand: the root, then four joints from thumb to pinky.

    The thumb of a hanging arm points to the center of the body.
    """
    along = _direction(angle)
    inward = -sign * np.array([along[1], -along[0]])
    bases = np.array([[0.18, 0.2], [0.48, 0.2], [0.52, 0.07], [0.5, -0.07], [0.45, -0.2]])
    lengths = np.array([0.42, 0.48, 0.54, 0.5, 0.4]) * random.uniform(0.7, 1.0)
    spread = np.array([0.75, 0.2, 0.05, -0.1, -0.28]) * random.uniform(0.6, 1.3)
    steps = np.array([0.0, 0.42, 0.73, 1.0])
    rays = np.stack([np.cos(spread), np.sin(spread)], -1)  # [5, 2] along, inward
    fingers = bases[:, None] + lengths[:, None, None] * steps[:, None] * rays[:, None]  # [5, 4, 2]
    local = np.concatenate([np.zeros((1, 2)), fingers.reshape(-1, 2)]) * _HAND
    return wrist + 0.02 * along + local[:, :1] * along + local[:, 1:] * inward


def _pose_leg(points: np.ndarray, name: str, sign: float, random: Random, *, sitting: bool) -> None:
    """Set knee, ankle and foot."""
    hip = points[KEYPOINT_INDEX[f"{name}_hip"]]
    thigh, shin = random.normal(0.12, 0.14), random.normal(0.0, 0.12)
    # a raised thigh points at the viewer
    foreshortening = 0.45 if sitting else random.uniform(0.85, 1.0)
    knee = hip + foreshortening * _THIGH * _direction(sign * thigh)
    ankle = knee + _SHIN * _direction(sign * shin)
    points[KEYPOINT_INDEX[f"{name}_knee"]], points[KEYPOINT_INDEX[f"{name}_ankle"]] = knee, ankle
    turn = sign * random.uniform(0.1, 1.1)
    forward = np.array([np.sin(turn), 0.55 * np.cos(turn) + 0.2])
    outward = sign * np.array([0.9, 0.12])
    sole = ankle + np.array([0, 0.025])
    points[KEYPOINT_INDEX[f"{name}_heel"]] = sole - 0.022 * forward
    points[KEYPOINT_INDEX[f"{name}_big_toe"]] = sole + 0.075 * forward - 0.012 * outward
    points[KEYPOINT_INDEX[f"{name}_small_toe"]] = sole + 0.058 * forward + 0.028 * outward


def stick_figure_face() -> np.ndarray:
    """Return the keypoints [68, 2] of a frontal face in half widths and half heights."""
    turn = np.linspace(0, np.pi, 17)
    jaw = np.stack([-0.97 * np.cos(turn), 0.98 * np.sin(turn) ** 0.9], -1)
    arch = np.sin(np.linspace(0.4, 2.7, 5))
    brow = np.stack([np.linspace(-0.74, -0.2, 5), -0.42 - 0.1 * arch], -1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.2, 0.2, 4)], -1)
    arch = np.sin(np.linspace(0, np.pi, 5))
    base = np.stack([np.linspace(-0.2, 0.2, 5), 0.28 + 0.06 * arch], -1)
    # outer corner, two points of the upper lid, inner corner, two points of the lower lid
    eye = np.array([-0.42, -0.15]) + 0.18 * np.array(
        [[-1, 0], [-0.4, -0.5], [0.4, -0.5], [1, 0], [0.4, 0.45], [-0.4, 0.45]]
    )
    flip = np.array([-1, 1])
    other_eye = (eye * flip)[[3, 2, 1, 0, 5, 4]]
    outer = _lip_outline(0.36, [-0.09, -0.12, -0.09, -0.12, -0.09], [0.12, 0.15, 0.17, 0.15, 0.12])
    inner = _lip_outline(0.27, [-0.03, -0.04, -0.03], [0.05, 0.06, 0.05])
    mouth = np.array([0, 0.6])
    brows = [brow, (brow * flip)[::-1]]
    return np.concatenate([jaw, *brows, bridge, base, eye, other_eye, outer + mouth, inner + mouth])


def _lip_outline(half_width: float, upper: list[float], lower: list[float]) -> np.ndarray:
    """Return a closed contour [n, 2] of a mouth: along the upper lip and back along the lower."""
    x = np.linspace(-half_width, half_width, len(upper) + 2)
    return np.concatenate(
        [
            np.stack([x, [0, *upper, 0]], -1),
            np.stack([x[-2:0:-1], lower], -1),
        ]
    )


def _pose_head(
    points: np.ndarray, head: np.ndarray, tilt: float, yaw: float, *, from_behind: bool
) -> None:
    """Set face, nose, eyes and ears on a rotated ellipsoid."""
    ears = np.array([[1.0, -0.02], [-1.0, -0.02]])  # left, right
    if from_behind:
        ears = ears[::-1]
    local = np.concatenate([stick_figure_face(), ears])
    depth = np.sqrt((1 - local[:, 0] ** 2 - 0.35 * local[:, 1] ** 2).clip(0))
    x = local[:, 0] * np.cos(yaw) + 0.9 * depth * np.sin(yaw)
    placed = np.stack([x, local[:, 1]], -1) * HEAD_SIZE
    cos, sin = np.cos(tilt), np.sin(tilt)
    placed = placed @ np.array([[cos, sin], [-sin, cos]]) + head
    face, (left_ear, right_ear) = placed[:-2], placed[-2:]
    points[WHOLEBODY.parts["face"]] = face
    points[KEYPOINT_INDEX["nose"]] = face[FACE_CONTOURS["bridge"]][-1]
    for eye in ("right_eye", "left_eye"):
        points[KEYPOINT_INDEX[eye]] = face[FACE_CONTOURS[eye]].mean(0)
    points[KEYPOINT_INDEX["left_ear"]], points[KEYPOINT_INDEX["right_ear"]] = left_ear, right_ear
