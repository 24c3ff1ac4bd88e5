"""Draw annotated people with the names of their keypoints, to check a skeleton."""

from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.image_grid import make_image_row
from tagpose.visualization.labels import Box, PersonLabel, draw_labels
from tagpose.visualization.poses import draw_ground_truth
from tagpose.visualization.skeleton_style import make_skeleton_style

_HEIGHT: Final = 640  # pixels of the pictures
_MAX_WIDTH: Final = 1000
_MARGIN: Final = 0.25  # of the person's longer side
_MIN_MARGIN: Final = 12  # image pixels
_MAX_NAMES: Final = 40  # that can be read in one picture


def draw_keypoint_names(
    image: np.ndarray, keypoints: np.ndarray, person: int, skeleton: Skeleton, title: str
) -> np.ndarray:
    """Draw an image with its people, and next to it one of them with the names of the keypoints.

    Args:
        image: image [H, W, 3] uint8 RGB; it is not changed.
        keypoints: ground-truth keypoints [P, K, 3] in image pixels, v > 0 where labelled.
        person: number of the person with names.
        skeleton: with K keypoints.
        title: above the first picture.

    Returns:
        Picture [H, W, 3] uint8 RGB.
    """
    left, top, right, bottom = _crop_box(keypoints[person], image)
    crop = image[top:bottom, left:right]
    moved = keypoints - np.array([left, top, 0])
    names = skeleton.keypoints if skeleton.size <= _MAX_NAMES else ()
    closer = _annotated(crop, moved, skeleton)
    _write_names(closer, _scaled(moved[person], crop), names, skeleton)
    pictures = (_annotated(image, keypoints, skeleton), closer)
    return make_image_row(pictures, (title, "keypoints by name"))


def _crop_box(person: np.ndarray, image: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a person with a margin, inside the image."""
    points = person[person[:, 2] > 0, :2]
    height, width = image.shape[:2]
    if not len(points):
        return 0, 0, width, height
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(_MIN_MARGIN, _MARGIN * float((high - low).max()))
    (left, top), (right, bottom) = low - margin, high + margin
    left, right = np.clip((left, right), (0, 1), (width - 1, width)).astype(int)
    top, bottom = np.clip((top, bottom), (0, 1), (height - 1, height)).astype(int)
    return int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1)


def _scale(image: np.ndarray) -> float:
    """How much an image is enlarged for its picture."""
    return min(_HEIGHT / image.shape[0], _MAX_WIDTH / image.shape[1])


def _scaled(keypoints: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Keypoints [..., 3] in pixels of the picture of an image."""
    scaled = keypoints.astype(float)
    scaled[..., :2] = (scaled[..., :2] + 0.5) * _scale(image) - 0.5
    return scaled


def _annotated(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The picture of an image with its people."""
    size = [max(1, round(side * _scale(image))) for side in image.shape[1::-1]]
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return draw_ground_truth(picture, _scaled(keypoints, image), skeleton)


def _write_names(
    picture: np.ndarray, person: np.ndarray, names: tuple[str, ...], skeleton: Skeleton
) -> None:
    """Write the names of a person's labelled keypoints into the picture."""
    colors = [tuple(color) for color in make_skeleton_style(skeleton).colors.tolist()]
    points = zip(person.tolist(), names, colors, strict=False)
    labels = [
        PersonLabel(Box(x, y, x, y), name, color) for (x, y, v), name, color in points if v > 0
    ]
    draw_labels(picture, labels)
