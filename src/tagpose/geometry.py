"""Affines [2, 3] between image, input and heatmap pixels, and boxes.

An affine maps points (x, y, 1). All affines to input pixels are created here, so that an image, its
keypoints and its masks are always transformed alike.
"""

import math

import numpy as np

from tagpose.structures import Poses


def crop_affine(
    center: tuple[float, float], crop_size: float, angle: float, size: tuple[int, int]
) -> np.ndarray:
    """Return the affine that maps a rotated square of the image to the network input.

    Args:
        center: x, y in image pixels of the center of the square, which is mapped to the center of
            the input.
        crop_size: side of the square in image pixels, which fills the shorter side of the input.
        angle: rotation in degrees; positive angles rotate the image counter-clockwise.
        size: width, height of the input in input pixels.

    Returns:
        Affine [2, 3] float64, image pixels -> input pixels.
    """
    scale = min(size) / crop_size
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    rotation = np.array([[cos, sin], [-sin, cos]])
    return np.c_[rotation, np.array(size) / 2 - rotation @ np.array(center)]


def flip_affine(affine: np.ndarray, width: int) -> np.ndarray:
    """Return an affine followed by a horizontal flip, which maps column x to width - 1 - x.

    Args:
        affine: affine [2, 3], image pixels -> input pixels.
        width: width of the input in input pixels.

    Returns:
        Affine [2, 3], image pixels -> flipped input pixels.
    """
    return compose_affines(np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]]), affine)


def scale_affine(affine: np.ndarray, factor: float) -> np.ndarray:
    """Return an affine followed by a scaling, such as from input pixels to heatmap pixels."""
    return affine * factor


def compose_affines(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the affine [2, 3] that applies `inner` first, then `outer`."""
    return np.c_[outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]]


def invert_affine(affine: np.ndarray) -> np.ndarray:
    """Return the inverse [2, 3] of an affine."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.c_[inverse, -inverse @ affine[:, 2]]


def transform_points(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply an affine [2, 3] to points [..., 2]."""
    return points @ affine[:, :2].T + affine[:, 2]


def resize_affine(width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Return the affine [2, 3] that maps the whole image to an input of `size` (width, height).

    The center is rounded to a whole pixel, half to even, as in MMPose.
    """
    center = (round(width / 2), round(height / 2))
    return crop_affine(center, min(width, height), 0.0, size)


def letterbox_affine(width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Return the affine [2, 3] that fits the whole image into an input of any `size`, centered.

    For sizes of `data.input_size.compute_input_dimensions` it equals `resize_affine`.

    Args:
        width: image width in image pixels.
        height: image height in image pixels.
        size: width, height of the input in input pixels.
    """
    center = (round(width / 2), round(height / 2))
    crop_size = max(width * min(size) / size[0], height * min(size) / size[1])
    return crop_affine(center, crop_size, 0.0, size)


def transform_poses(poses: Poses, affine: np.ndarray) -> Poses:
    """Apply an affine [2, 3] to poses, such as the inverse one back to image pixels."""
    keypoints = poses.keypoints.copy()
    keypoints[..., :2] = transform_points(affine, poses.keypoints[..., :2].astype(np.float64))
    return poses._replace(keypoints=keypoints)


def keypoint_boxes(keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the boxes around present keypoints, or zeros if a person has none.

    Args:
        keypoints: [P, K, 3] in image pixels.
        present: [P, K] bool, keypoints to enclose.

    Returns:
        [P, 4] left, top, width, height, in the data type of the keypoints.
    """
    xy = keypoints[..., :2]
    low = np.where(present[..., None], xy, np.inf).min(1, initial=np.inf)
    high = np.where(present[..., None], xy, -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high - low], 1)
    return np.where(present.any(1, keepdims=True), boxes, 0).astype(keypoints.dtype)


def resize_keypoints(keypoints: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Convert keypoints [..., 3] to pixels of a resized image; the center of a pixel is its index.

    Args:
        keypoints: x, y, score in pixels of the image.
        scale: pixels of the resized image per pixel of the image, or its values [2] for x and y.
    """
    return np.concatenate([(keypoints[..., :2] + 0.5) * scale - 0.5, keypoints[..., 2:]], -1)


def to_image_pixels(people: Poses, affine: np.ndarray) -> Poses:
    """Map poses from input pixels to image pixels; missing keypoints stay rows of 0.

    Args:
        people: poses with keypoints in input pixels.
        affine: [2, 3] from image pixels to input pixels.
    """
    mapped = transform_poses(people, invert_affine(affine))
    present = people.keypoints[..., 2:] > 0
    return mapped._replace(keypoints=np.where(present, mapped.keypoints, np.float32(0)))
