"""This file says where limbs may be that nobody labelled: no background, but nothing to learn from.

COCO-WholeBody has no labels for a face, hand or foot that is too small or blurred to label, while
it stands in the picture all the same.
"""

from typing import Any, Final

import numpy as np

from tagpose.geometry import apply
from tagpose.skeleton import Skeleton

# How far from what it hangs on a limb reaches, in units of the longer side of the person's box: a
# foot is 0.152 of a standing person's height, head and neck 0.182, a hand 0.108 (Drillis and
# Contini 1966); people who bend or are cut off are larger than their box.
_REACH: Final = 0.2
_MARGIN: Final = 0.1  # around a given box, in units of its longer side, which its points lie on


def box_keys(skeleton: Skeleton) -> list[str]:
    """The fields [1 + F] of an annotation that have the box of the person and of each limb."""
    return ["bbox", *(f"{limb}_box" for limb in skeleton.limbs)]


def unlabelled_boxes(keypoints: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Where people's limbs may be that have no label at all.

    That is a limb's own box, or else around the keypoints that it hangs on, or else the person's
    box, or else around all that is labelled of the person.

    Args:
        keypoints: [P, K, 3] x, y in image pixels, v.
        boxes: [P, 1 + F, 4] of the person and of its limbs: left, top, width, height in image
            pixels; without a width or a height where none is given.
        skeleton: of the people.

    Returns:
        [P, F, 4] float32 left, top, right, bottom in image pixels; 0 for limbs with a label.
    """
    labelled = np.greater(keypoints[..., 2], 0)
    given = np.greater(boxes[..., 2:], 0).all(-1, keepdims=True)  # [P, 1 + F, 1]
    own = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)
    person = np.where(given[:, 0], own[:, 0], _around(keypoints, labelled, 0.0))
    reach = _REACH * _longer(person)
    places = []
    for limb, (at, roots) in enumerate(
        zip(skeleton.limbs.values(), skeleton.limb_roots, strict=True)
    ):
        rooted = labelled & np.isin(np.arange(skeleton.size), roots)
        place = np.where(rooted.any(1)[:, None], _around(keypoints, rooted, reach), person)
        place = np.where(given[:, 1 + limb], _wider(own[:, 1 + limb]), place)
        places.append(np.where(labelled[:, at].any(1)[:, None], 0, place))
    return np.stack(places, 1, dtype=np.float32)


def seen_boxes(boxes: np.ndarray, frame: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Boxes as a frame sees them: upright ones around them, left and right as a mirror swaps them.

    Args:
        boxes: [P, F, 4] left, top, right, bottom in image pixels.
        frame: [2, 3] image pixels -> input pixels.
        skeleton: of the people.

    Returns:
        [P, F, 4] float32 in input pixels; boxes of no size stay as they are.
    """
    corners = boxes[..., [[0, 1], [2, 1], [2, 3], [0, 3]]]  # [P, F, 4, 2]
    seen = apply(frame, corners)
    around = np.concatenate([seen.min(-2), seen.max(-2)], -1)
    if np.linalg.det(frame[:, :2]) < 0:
        boxes, around = boxes[:, list(skeleton.limb_mirror)], around[:, list(skeleton.limb_mirror)]
    there = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdims=True)
    return np.where(there, around, 0).astype(np.float32)


def _around(keypoints: np.ndarray, chosen: np.ndarray, reach: Any) -> np.ndarray:
    """Boxes [P, 4] so far around some of the keypoints [P, K, 3]; anything where there are none."""
    points = np.where(chosen[..., None], keypoints[..., :2], np.nan)
    reach = np.reshape(reach, (-1, 1))
    low = np.fmin.reduce(points, 1)
    return np.concatenate([low - reach, np.fmax.reduce(points, 1) + reach], -1)


def _longer(boxes: np.ndarray) -> np.ndarray:
    """The longer sides [P] of boxes [P, 4]."""
    return (boxes[:, 2:] - boxes[:, :2]).max(-1)


def _wider(boxes: np.ndarray) -> np.ndarray:
    """Boxes [P, 4] with a margin."""
    margin = _MARGIN * _longer(boxes)[:, None]
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], -1)
