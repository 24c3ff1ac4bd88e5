"""Regions that the heatmap loss ignores because unlabeled parts of a person may be there.

COCO-WholeBody has no labels for a face, hand or foot that is too small or too blurred, although it
is visible in the image. Such a region is neither background nor a training target.
"""

from typing import Final

import numpy as np

from tagpose.geometry import transform_points
from tagpose.skeletons.skeleton import Skeleton

# How far a part extends from the keypoints that it is attached to, in units of the longer side of
# the person's box. A foot is 0.152 of a standing person's height, head and neck 0.182, a hand 0.108
# (Drillis and Contini 1966); people who bend or are truncated are larger than their box.
_REACH: Final = 0.2
_MARGIN: Final = 0.1  # around a labeled box, in units of its longer side: keypoints lie on its edge


def ignore_boxes(keypoints: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return the boxes in which parts without any label may be.

    The location of a part is its own labeled box, with a margin. If it has none, it is the
    neighborhood of the keypoints that the part is attached to, else the box of the person, else the
    bounding box of the person's labeled keypoints.

    Args:
        keypoints: [P, K, 3] x, y in image pixels, v.
        boxes: [P, 1 + F, 4] boxes of the person and its parts: left, top, width, height in image
            pixels; width or height is 0 if there is no box.
        skeleton: skeleton of the keypoints.

    Returns:
        [P, F, 4] float32 left, top, right, bottom in image pixels; 0 for parts with a label.
    """
    labelled = np.greater(keypoints[..., 2], 0)
    has_box = np.greater(boxes[..., 2:], 0).all(-1)  # [P, 1 + F]
    corners = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)
    person, without = corners[:, 0].copy(), ~has_box[:, 0]
    person[without] = _keypoint_boxes(keypoints[without], labelled[without])
    reach = _REACH * _longer_sides(person)[:, None] * [-1, -1, 1, 1]
    part_boxes = []
    parts = zip(skeleton.disjoint_parts.values(), map(list, skeleton.part_parents), strict=True)
    for index, (part, parents) in enumerate(parts, start=1):
        box = person
        if parents:
            nearby = _keypoint_boxes(keypoints[:, parents], labelled[:, parents]) + reach
            box = np.where(labelled[:, parents].any(1)[:, None], nearby, person)
        box = np.where(has_box[:, index, None], _add_margin(corners[:, index]), box)
        part_boxes.append(np.where(labelled[:, part].any(1)[:, None], 0, box))
    return np.stack(part_boxes, 1, dtype=np.float32, casting="same_kind")


def transform_boxes(boxes: np.ndarray, affine: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return the axis-aligned bounding boxes of transformed boxes; a flip swaps left and right.

    Args:
        boxes: [P, F, 4] left, top, right, bottom in image pixels.
        affine: [2, 3] image pixels -> input pixels.
        skeleton: skeleton of the people.

    Returns:
        [P, F, 4] float32 in input pixels; 0 for boxes without a size.
    """
    corners = boxes[..., [[0, 1], [2, 1], [2, 3], [0, 3]]]  # [P, F, 4, 2]
    corners = transform_points(affine, corners)
    bounds = np.concatenate([corners.min(-2), corners.max(-2)], -1)
    if np.linalg.det(affine[:, :2]) < 0:
        flip_indices = list(skeleton.part_flip_indices)
        boxes, bounds = boxes[:, flip_indices], bounds[:, flip_indices]
    has_size = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdims=True)
    return np.where(has_size, bounds, 0).astype(np.float32)


def _keypoint_boxes(keypoints: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the bounding boxes [P, 4] of the keypoints [P, K, 3] in a mask [P, K], or NaN."""
    points = np.where(mask[..., None], keypoints[..., :2], np.nan)
    return np.concatenate([np.fmin.reduce(points, 1), np.fmax.reduce(points, 1)], -1)


def _longer_sides(boxes: np.ndarray) -> np.ndarray:
    """Return the longer sides [P] of boxes [P, 4]."""
    return (boxes[:, 2:] - boxes[:, :2]).max(-1)


def _add_margin(boxes: np.ndarray) -> np.ndarray:
    """Enlarge boxes [P, 4] by a margin."""
    margin = _MARGIN * _longer_sides(boxes)[:, None]
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], -1)
