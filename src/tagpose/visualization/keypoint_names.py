"""Pictures of annotated people with the names of their keypoints, for checking a skeleton."""

from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.image_grid import make_image_row
from tagpose.visualization.labels import Box, PersonLabel, draw_labels
from tagpose.visualization.poses import draw_ground_truth
from tagpose.visualization.skeleton_style import make_skeleton_style

_HEIGHT: Final = 640  # pixels of a picture
_MAX_WIDTH: Final = 1000
_MARGIN: Final = 0.25  # of the longer side of the person's box
_MIN_MARGIN: Final = 12  # image pixels
_MAX_NAMES: Final = 40  # more are not legible in one picture


def draw_keypoint_names(
    image: np.ndarray, keypoints: np.ndarray, person: int, skeleton: Skeleton, title: str
) -> np.ndarray:
    """Draw an image with its people next to a crop of one person with keypoint names.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        keypoints: ground-truth keypoints [P, K, 3] in image pixels, v > 0 where labeled.
        person: index of the person in the crop.
        skeleton: skeleton with K keypoints.
        title: title of the first picture.

    Returns:
        Picture [H, W, 3] uint8 RGB.
    """
    left, top, right, bottom = _crop_box(keypoints[person], image)
    crop = image[top:bottom, left:right]
    shifted = keypoints - np.array([left, top, 0])
    names = skeleton.keypoints if skeleton.size <= _MAX_NAMES else ()
    close_up = _draw_scaled(crop, shifted, skeleton)
    _write_names(close_up, _scale_keypoints(shifted[person], crop), names, skeleton)
    pictures = (_draw_scaled(image, keypoints, skeleton), close_up)
    return make_image_row(pictures, (title, "keypoint names"))


def _crop_box(person: np.ndarray, image: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a person's box with a margin, clipped to the image."""
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
    """Return picture pixels per image pixel."""
    return min(_HEIGHT / image.shape[0], _MAX_WIDTH / image.shape[1])


def _scale_keypoints(keypoints: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Convert keypoints [..., 3] from image pixels to pixels of the image's picture."""
    scaled = keypoints.astype(float)
    scaled[..., :2] = (scaled[..., :2] + 0.5) * _scale(image) - 0.5
    return scaled


def _draw_scaled(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Resize the image to its picture and draw the people on it."""
    size = [max(1, round(length * _scale(image))) for length in image.shape[1::-1]]
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return draw_ground_truth(picture, _scale_keypoints(keypoints, image), skeleton)


def _write_names(
    picture: np.ndarray, person: np.ndarray, names: tuple[str, ...], skeleton: Skeleton
) -> None:
    """Write the names of a person's labeled keypoints into the picture."""
    colors = [tuple(color) for color in make_skeleton_style(skeleton).colors.tolist()]
    points = zip(person.tolist(), names, colors, strict=False)
    labels = [
        PersonLabel(Box(x, y, x, y), name, color) for (x, y, v), name, color in points if v > 0
    ]
    draw_labels(picture, labels)
