"""This file says where parts may be that nobody labelled: no background, but nothing to learn from.

COCO-WholeBody has no labels for a face, hand or foot that is too small or blurred to label, while
it stands in the picture all the same.
"""

from typing import Final

import numpy as np

from tagpose.geometry import transform_points
from tagpose.skeletons.skeleton import Skeleton

# How far from what it hangs on a part reaches, in units of the longer side of the person's box: a
# foot is 0.152 of a standing person's height, head and neck 0.182, a hand 0.108 (Drillis and
# Contini 1966); people who bend or are cut off are larger than their box.
_REACH: Final = 0.2
_MARGIN: Final = 0.1  # around a given box, in units of its longer side, which its points lie on


def ignore_boxes(keypoints: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Where people's parts may be that have no label at all.

    That is a part's own box, or else around the keypoints that it hangs on, or else the person's
    box, or else around all that is labelled of the person.

    Args:
        keypoints: [P, K, 3] x, y in image pixels, v.
        boxes: [P, 1 + F, 4] of the person and of its parts: left, top, width, height in image
            pixels; without a width or a height where none is given.
        skeleton: of the people.

    Returns:
        [P, F, 4] float32 left, top, right, bottom in image pixels; 0 for parts with a label.
    """
    labelled = np.greater(keypoints[..., 2], 0)
    given = np.greater(boxes[..., 2:], 0).all(-1)  # [P, 1 + F]
    own = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)
    person, without = own[:, 0].copy(), ~given[:, 0]
    person[without] = _keypoint_boxes(keypoints[without], labelled[without])
    reach = _REACH * _longer_sides(person)[:, None] * [-1, -1, 1, 1]
    places = []
    for part, (at, roots) in enumerate(
        zip(skeleton.disjoint_parts.values(), map(list, skeleton.part_parents), strict=True),
        start=1,
    ):
        place = person
        if roots:
            around = _keypoint_boxes(keypoints[:, roots], labelled[:, roots]) + reach
            place = np.where(labelled[:, roots].any(1)[:, None], around, person)
        place = np.where(given[:, part, None], _add_margin(own[:, part]), place)
        places.append(np.where(labelled[:, at].any(1)[:, None], 0, place))
    return np.stack(places, 1, dtype=np.float32, casting="same_kind")


def transform_boxes(boxes: np.ndarray, affine: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Boxes as an affine sees them: upright ones around them, left and right as a flip swaps them.

    Args:
        boxes: [P, F, 4] left, top, right, bottom in image pixels.
        affine: [2, 3] image pixels -> input pixels.
        skeleton: of the people.

    Returns:
        [P, F, 4] float32 in input pixels; boxes of no size stay as they are.
    """
    corners = boxes[..., [[0, 1], [2, 1], [2, 3], [0, 3]]]  # [P, F, 4, 2]
    seen = transform_points(affine, corners)
    around = np.concatenate([seen.min(-2), seen.max(-2)], -1)
    if np.linalg.det(affine[:, :2]) < 0:
        flip_indices = list(skeleton.part_flip_indices)
        boxes, around = boxes[:, flip_indices], around[:, flip_indices]
    there = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdims=True)
    return np.where(there, around, 0).astype(np.float32)


def _keypoint_boxes(keypoints: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Boxes [P, 4] around some of the keypoints [P, K, 3]; nan where there are none."""
    points = np.where(chosen[..., None], keypoints[..., :2], np.nan)
    return np.concatenate([np.fmin.reduce(points, 1), np.fmax.reduce(points, 1)], -1)


def _longer_sides(boxes: np.ndarray) -> np.ndarray:
    """The longer sides [P] of boxes [P, 4]."""
    return (boxes[:, 2:] - boxes[:, :2]).max(-1)


def _add_margin(boxes: np.ndarray) -> np.ndarray:
    """Boxes [P, 4] with a margin."""
    margin = _MARGIN * _longer_sides(boxes)[:, None]
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], -1)
