"""Pictures of people with the names of their keypoints."""

from typing import Final

import cv2
import numpy as np

from tagpose.geometry import resize_keypoints
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.image_grid import make_image_row
from tagpose.visualization.labels import Box, PersonLabel, draw_labels
from tagpose.visualization.poses import draw_ground_truth_poses
from tagpose.visualization.skeleton_style import make_skeleton_style

_MAX_HEIGHT: Final = 640  # pixels
_MAX_WIDTH: Final = 1000
_CROP_MARGIN: Final = 0.25  # of the longer side of the person's box
_MIN_CROP_MARGIN: Final = 12  # image pixels
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
    left, top, right, bottom = _person_crop_box(keypoints[person], image)
    crop = image[top:bottom, left:right]
    pictures = []
    for picture, people in ((image, keypoints), (crop, keypoints - np.array([left, top, 0]))):
        zoom = min(_MAX_HEIGHT / picture.shape[0], _MAX_WIDTH / picture.shape[1])
        people = resize_keypoints(people.astype(float), zoom)
        size = [max(1, round(length * zoom)) for length in picture.shape[1::-1]]
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        pictures.append(draw_ground_truth_poses(resized, people, skeleton))
    names = skeleton.keypoints if skeleton.size <= _MAX_NAMES else ()
    _write_keypoint_names(pictures[-1], people[person], names, skeleton)
    return make_image_row(pictures, (title, "keypoint names"))


def _person_crop_box(person: np.ndarray, image: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a person's box with a margin, clipped to the image."""
    points = person[person[:, 2] > 0, :2]
    height, width = image.shape[:2]
    if not len(points):
        return 0, 0, width, height
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(_MIN_CROP_MARGIN, _CROP_MARGIN * float((high - low).max()))
    (left, top), (right, bottom) = low - margin, high + margin
    left, right = np.clip((left, right), (0, 1), (width - 1, width)).astype(int)
    top, bottom = np.clip((top, bottom), (0, 1), (height - 1, height)).astype(int)
    return int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1)


def _write_keypoint_names(
    picture: np.ndarray, person: np.ndarray, names: tuple[str, ...], skeleton: Skeleton
) -> None:
    """Write the names of a person's labeled keypoints into the picture."""
    colors = [tuple(color) for color in make_skeleton_style(skeleton).colors.tolist()]
    points = zip(person.tolist(), names, colors, strict=False)
    labels = [
        PersonLabel(Box(x, y, x, y), name, color) for (x, y, v), name, color in points if v > 0
    ]
    draw_labels(picture, labels)
