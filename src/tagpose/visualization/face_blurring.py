"""Blurring of the faces of predicted people."""

from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.coco import BODY
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

_MIN_SCORE: Final = 0.1  # of people and keypoints; low, as a missed face is worse than a false one
_HEAD: Final = frozenset(BODY.keypoints[:5])  # nose, eyes, ears
_FACE_FACTOR: Final = 1.6  # head radius per radius of the face keypoints, which omit the forehead
_HEAD_FACTOR: Final = 2.0  # head radius per radius of nose, eyes and ears
_MIN_RADIUS: Final = 0.2  # of the radius of all keypoints, if only one head keypoint is known
_OUTLIER: Final = 2.0  # median distances from the center of a head beyond which points are ignored
_BLUR_SIZE: Final = 6  # pixels that remain across a face


def blur_faces(image: np.ndarray, people: Poses, skeleton: Skeleton) -> np.ndarray:
    """Return the image with the heads of people blurred beyond recognition.

    Faces that the network misses are not blurred.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        people: all predictions including weak ones, with keypoints in image pixels; only people
            and keypoints with scores below 0.1 are ignored.
        skeleton: skeleton of the keypoints.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    head = np.array([name in _HEAD for name in skeleton.keypoints])
    face = np.array([name.startswith("face-") for name in skeleton.keypoints])
    blurred = image.copy()
    for keypoints in people.keypoints[people.scores >= _MIN_SCORE]:
        valid = (keypoints[:, 2] >= _MIN_SCORE) & np.isfinite(keypoints).all(1)
        if (valid & (head | face)).any():
            center, radius = _robust_circle(keypoints[valid & (head | face), :2])
            factor = _FACE_FACTOR if (valid & face).any() else _HEAD_FACTOR
            min_radius = _MIN_RADIUS * _robust_circle(keypoints[valid, :2])[1]
            _blur_disc(blurred, center, max(factor * radius, min_radius, 1.0))
    return blurred


def _robust_circle(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Return center [2] and radius of points [N, 2], ignoring outliers such as others' keypoints.

    Outliers are points beyond `_OUTLIER` median distances from the center.
    """
    center = np.median(points, axis=0)
    distances = np.hypot(*(points - center).T)
    return center, min(float(distances.max()), _OUTLIER * float(np.median(distances)))


def _blur_disc(image: np.ndarray, center: np.ndarray, radius: float) -> None:
    """Blur a disc of the image, which is modified in place."""
    height, width = image.shape[:2]
    left, top = np.floor(center - radius).clip(0, (width, height)).astype(int).tolist()
    right, bottom = np.ceil(center + radius + 1).clip(0, (width, height)).astype(int).tolist()
    window = image[top:bottom, left:right]
    if window.size == 0:
        return
    coarse = cv2.resize(window, (_BLUR_SIZE, _BLUR_SIZE), interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(coarse, window.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    y, x = np.ogrid[top:bottom, left:right]
    inside = (x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2
    window[inside] = smooth[inside]
