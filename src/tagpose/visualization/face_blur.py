"""Blur the faces of people, so that pictures can be shown without the people's identity."""

from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.coco import BODY
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

_MIN_SCORE: Final = 0.1  # of people and of keypoints: rather one face too many
_HEAD: Final = frozenset(BODY.keypoints[:5])  # nose, eyes, ears
_FACE_RADIUS: Final = 1.6  # radii of the points of a face that cover a head: it has no forehead
_HEAD_RADIUS: Final = 2.0  # of nose, eyes and ears
_MIN_REACH: Final = 0.2  # of the reach of all keypoints, where one point of a head is known
_OUTLIER: Final = 2.0  # median distances from the middle of a head that its points lie within
_BLUR_SIZE: Final = 6  # pixels that are left across a face


def blur_faces(image: np.ndarray, people: Poses, skeleton: Skeleton) -> np.ndarray:
    """Return the image with the heads of people blurred beyond recognition.

    Faces that the network misses stay as they are.

    Args:
        image: [H, W, 3] uint8 RGB, not changed.
        people: all predictions, also those with low scores, of which the lowest (below 0.1) do
            not count; keypoints in pixels of the image.
        skeleton: of the keypoints.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    head = np.array([name in _HEAD for name in skeleton.keypoints])
    face = np.array([name.startswith("face-") for name in skeleton.keypoints])
    blurred = image.copy()
    for keypoints in people.keypoints[people.scores >= _MIN_SCORE]:
        here = (keypoints[:, 2] >= _MIN_SCORE) & np.isfinite(keypoints).all(1)
        if (here & (head | face)).any():
            center, reach = _robust_center(keypoints[here & (head | face), :2])
            factor = _FACE_RADIUS if (here & face).any() else _HEAD_RADIUS
            least = _MIN_REACH * _robust_center(keypoints[here, :2])[1]
            _blur_disc(blurred, center, max(factor * reach, least, 1.0))
    return blurred


def _robust_center(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The middle [2] of points [N, 2] and how far they reach; strays, as of others, do not count.

    The strays are those beyond `_OUTLIER` median distances.
    """
    center = np.median(points, axis=0)
    distances = np.hypot(*(points - center).T)
    return center, min(float(distances.max()), _OUTLIER * float(np.median(distances)))


def _blur_disc(image: np.ndarray, center: np.ndarray, radius: float) -> None:
    """Blur a disc of the image, which is written to."""
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
