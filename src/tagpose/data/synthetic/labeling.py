"""Labels that an annotator would give to rendered people: keypoints, masks, boxes and polygons."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np

from tagpose.data.synthetic.pose import KEYPOINT_INDEX, Random, StickFigure
from tagpose.data.synthetic.renderer import SUPERSAMPLING
from tagpose.skeletons.coco import WHOLEBODY

_MIN_PART_SIZE: Final = 8.0  # image pixels; smaller faces and hands are not labeled
_MIN_VISIBLE_FRACTION: Final = 0.6  # of the keypoints of a labeled face or hand
_UNLABELED_PERSON_PROB, _UNLABELED_PART_PROB = 0.04, 0.07
# image pixels; in sparse datasets smaller parts are not labeled
_MIN_SPARSE_SIZES: Final = MappingProxyType(
    {"foot": 22.0, "face": 25.0, "lefthand": 14.0, "righthand": 14.0}
)
_BLUR_PROB: Final = 0.2  # in sparse datasets
_BLUR_SIGMA: Final = 0.12  # in units of the longer side of the part


def label_keypoints(
    figure: StickFigure, points: np.ndarray, mask: np.ndarray, visible: np.ndarray, random: Random
) -> np.ndarray:
    """Return the keypoints [K, 3] (x, y in image pixels, v) that an annotator would label.

    An occluded keypoint has v = 1, and one outside the image is unlabeled. Faces and hands that are
    small, mostly occluded or turned away are not labeled at all.

    Args:
        figure: rendered figure.
        points: [K, 2] keypoints in canvas pixels.
        mask: [H, W] bool, canvas pixels of the figure.
        visible: [H, W] bool, canvas pixels of the figure that nothing occludes.
        random: generator; some people and parts are left unlabeled at random.
    """
    keypoints = np.zeros((WHOLEBODY.size, 3))
    if random.random() < _UNLABELED_PERSON_PROB:
        return keypoints
    height, width = visible.shape
    column, row = np.round(points).astype(int).T
    # the center of an image pixel is in the middle of SUPERSAMPLING x SUPERSAMPLING canvas pixels
    keypoints[:, :2] = (points + 0.5) / SUPERSAMPLING - 0.5
    last = np.array([width, height]) // SUPERSAMPLING - 1
    inside = ((keypoints[:, :2] >= 0) & (keypoints[:, :2] <= last)).all(1)
    column, row = column.clip(0, width - 1), row.clip(0, height - 1)
    occluded = mask[row, column] & ~visible[row, column]
    keypoints[:, 2] = np.where(occluded, 1, 2) * inside
    for name in ("foot", "face", "lefthand", "righthand"):
        part = WHOLEBODY.parts[name]
        extent = np.ptp(points[part], axis=0).max() / SUPERSAMPLING
        visible_fraction = (inside & ~occluded)[part].mean()
        unclear = extent < _MIN_PART_SIZE or visible_fraction < _MIN_VISIBLE_FRACTION
        if (name != "foot" and unclear) or random.random() < _UNLABELED_PART_PROB:
            keypoints[part] = 0
    if figure.from_behind:
        keypoints[WHOLEBODY.parts["face"]] = 0
        keypoints[[KEYPOINT_INDEX[name] for name in ("nose", "left_eye", "right_eye")]] = 0
    keypoints[keypoints[:, 2] == 0] = 0
    return keypoints


def blur_parts(image: np.ndarray, keypoints: np.ndarray, random: Random) -> tuple[str, ...]:
    """Blur random parts of a person in place, and return parts that are too unclear for labels.

    Args:
        image: canvas [SUPERSAMPLING * H, SUPERSAMPLING * W, 3] uint8.
        keypoints: [K, 3] labels of the person in image pixels.
        random: generator.

    Returns:
        Names of the parts that are blurred, or too small to be labeled in a sparse dataset.
    """
    unclear = []
    for name, min_size in _MIN_SPARSE_SIZES.items():
        points = keypoints[WHOLEBODY.parts[name]]
        points = points[points[:, 2] > 0, :2]
        is_blurred = random.random() < _BLUR_PROB
        if not len(points):
            continue
        extent = np.ptp(points, axis=0).max()
        if is_blurred:
            _blur_part(
                image, SUPERSAMPLING * points, SUPERSAMPLING * max(0.5, _BLUR_SIGMA * extent)
            )
        if is_blurred or extent < min_size:
            unclear.append(name)
    return tuple(unclear)


def remove_parts(keypoints: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """Return keypoints [K, 3] without the labels of some parts."""
    remaining = keypoints.copy()
    for part in parts:
        remaining[WHOLEBODY.parts[part]] = 0
    return remaining


def mask_box(mask: np.ndarray) -> list[float]:
    """Return the box x, y, width, height of a mask [H, W]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = float(columns[0]), float(rows[0])
    return [x, y, float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)]


def mask_polygons(mask: np.ndarray) -> list[list[float]]:
    """Return the outlines of a mask [H, W] as polygons."""
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [c.ravel().astype(float).tolist() for c in contours if len(c) >= 3]


def subtract_masks(mask: np.ndarray, covers: list[np.ndarray]) -> np.ndarray:
    """Return the pixels of a mask [H, W] that no other mask covers."""
    visible = mask.copy()
    for cover in covers:
        visible &= ~cover
    return visible


def downsample_mask(mask: np.ndarray) -> np.ndarray:
    """Convert a mask from canvas pixels to image pixels [H, W]."""
    height, width = mask.shape[0] // SUPERSAMPLING, mask.shape[1] // SUPERSAMPLING
    coverage = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return coverage >= 0.5


def _blur_part(image: np.ndarray, points: np.ndarray, sigma: float) -> None:
    """Blur an image in place inside the convex hull of points [n, 2], with soft edges."""
    low = np.floor(points.min(0) - 3 * sigma).astype(int).clip(0)
    high = np.ceil(points.max(0) + 3 * sigma).astype(int) + 1
    window = image[low[1] : high[1], low[0] : high[0]]
    inside = np.zeros(window.shape[:2], np.float32)
    hull = cv2.convexHull((points - low).astype(np.int32))
    cv2.fillConvexPoly(inside, hull, 1.0)
    dilated = cv2.dilate(inside, np.ones((3, 3)), iterations=int(sigma))
    weight = cv2.GaussianBlur(dilated, (0, 0), sigma)
    blurred = cv2.GaussianBlur(window, (0, 0), sigma)
    window[:] = window + weight[..., None] * (blurred.astype(np.float32) - window)
