"""Regions that the heatmap loss ignores: crowds, people without labels, and unlabeled parts.

Crowds and people without labels are RLE masks; unlabeled parts are boxes around their possible
location. COCO-WholeBody has no labels for a face, hand or foot that is too small or too blurred,
although it is visible in the image. Such a region is neither background nor a training target.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np

from tagpose.data.annotation_table import AnnotationTable
from tagpose.data.coco_schema import ImageRow
from tagpose.data.issues import IssueLog, IssueType
from tagpose.data.rle_masks import PackedMasks, pack_masks, parse_segmentation, union_mask
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
    labeled = np.greater(keypoints[..., 2], 0)
    has_box = np.greater(boxes[..., 2:], 0).all(-1)  # [P, 1 + F]
    corners = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)
    person, without = corners[:, 0].copy(), ~has_box[:, 0]
    person[without] = _label_bounds(keypoints[without], labeled[without])
    reach = _REACH * _longer_sides(person)[:, None] * [-1, -1, 1, 1]
    part_boxes = []
    parts = zip(skeleton.disjoint_parts.values(), map(list, skeleton.part_parents), strict=True)
    for index, (part, parents) in enumerate(parts, start=1):
        box = person
        if parents:
            nearby = _label_bounds(keypoints[:, parents], labeled[:, parents]) + reach
            box = np.where(labeled[:, parents].any(1)[:, None], nearby, person)
        box = np.where(has_box[:, index, None], _enlarge_part_boxes(corners[:, index]), box)
        part_boxes.append(np.where(labeled[:, part].any(1)[:, None], 0, box))
    return np.stack(part_boxes, 1, dtype=np.float32, casting="same_kind")


def pack_ignored_masks(
    annotations: AnnotationTable, images: Mapping[int, ImageRow], log: IssueLog
) -> PackedMasks:
    """Pack the masks of the annotations that are not trainable.

    Args:
        annotations: annotations of a file.
        images: images of all annotations, by id.
        log: receives segmentations that cannot be read.
    """
    ids, masks = [], []
    rows = ~annotations.trainable
    image_ids = annotations.image_ids[rows].tolist()
    indices = annotations.row_indices[rows].tolist()
    for image_id, index, region in zip(
        image_ids, indices, annotations.ignored_regions, strict=True
    ):
        size = images[image_id].width, images[image_id].height
        try:
            masks.append(parse_segmentation(region.segmentation, region.box, size))
            ids.append(image_id)
        except ValueError as error:
            row, type_ = region._asdict(), IssueType.SEGMENTATION
            log.add_row("annotation", row, index, type_, str(error), image_id)
    return pack_masks(ids, masks)


def loss_mask(ignored: Sequence[Mapping[str, object]], width: int, height: int) -> np.ndarray:
    """Return a mask [height, width] uint8: 0 where one of the RLE masks is set, else 1."""
    if not ignored:
        return np.ones((height, width), np.uint8)
    return 1 - cv2.transpose(union_mask(ignored).T)


def _label_bounds(keypoints: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the bounding boxes [P, 4] of the keypoints [P, K, 3] in a mask [P, K], or NaN."""
    points = np.where(mask[..., None], keypoints[..., :2], np.nan)
    return np.concatenate([np.fmin.reduce(points, 1), np.fmax.reduce(points, 1)], -1)


def _longer_sides(boxes: np.ndarray) -> np.ndarray:
    """Return the longer sides [P] of boxes [P, 4]."""
    return (boxes[:, 2:] - boxes[:, :2]).max(-1)


def _enlarge_part_boxes(boxes: np.ndarray) -> np.ndarray:
    """Enlarge boxes [P, 4] by a margin."""
    margin = _MARGIN * _longer_sides(boxes)[:, None]
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], -1)
