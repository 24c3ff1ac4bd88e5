"""Samples of a dataset, and their pictures with keypoints, masks and target heatmaps."""

from typing import Final

import cv2
import numpy as np

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Sample
from tagpose.visualization.colors import Color
from tagpose.visualization.heatmaps import draw_heatmaps
from tagpose.visualization.image_grid import make_image_row
from tagpose.visualization.poses import draw_ground_truth_poses
from tagpose.visualization.skeleton_colors import part_color

_BRIGHTNESS: Final = 0.25  # of the image where the loss is masked
_MASK_COLOR: Final[Color] = (150, 0, 110)  # added, because dimming is invisible in dark images


def draw_sample(sample: Sample, skeleton: Skeleton, title: str) -> np.ndarray:
    """Draw a row of four pictures: image, keypoints, loss mask and target heatmaps.

    The third also shows the boxes of unlabeled parts, which `HeatmapEncoder` can ignore.

    Args:
        sample: a single sample, not a batch, after augmentation.
        skeleton: skeleton with K keypoints.
        title: title of the first picture.

    Returns:
        Picture [H, W, 3] uint8 RGB.
    """
    image = sample.image.permute(1, 2, 0).numpy()
    targets = HeatmapEncoder()(sample.keypoints[None], sample.mask[None])
    return make_image_row(
        (
            image,
            draw_ground_truth_poses(image, sample.keypoints.numpy(), skeleton),
            draw_boxes(draw_mask(image, sample.mask.numpy()), sample.unlabeled.numpy(), skeleton),
            draw_heatmaps(image, targets.heatmaps[0].numpy(), skeleton),
        ),
        (title, "keypoints", "tinted: masked; boxes: unlabeled parts", "heatmaps by part"),
    )


def draw_boxes(image: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Draw the outlines of boxes in the colors of their parts.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        boxes: left, top, right, bottom [P, F, 4] in image pixels of the F parts of each person;
            empty boxes are not drawn.
        skeleton: skeleton with F disjoint parts.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    picture = image.copy()
    for part, part_boxes in zip(skeleton.disjoint_parts, boxes.swapaxes(0, 1), strict=True):
        for left, top, right, bottom in np.rint(part_boxes).astype(int).tolist():
            if right > left:
                cv2.rectangle(picture, (left, top), (right, bottom), part_color(skeleton, part), 1)
    return picture


def draw_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Dim and tint the image where the mask is 0.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        mask: loss mask [h, w] uint8 of 0 and 1 in heatmap pixels, which covers the image.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    resized = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    tinted = image * np.float32(_BRIGHTNESS) + np.array(_MASK_COLOR)
    return np.where(resized > 0, image, np.rint(tinted).clip(0, 255)).astype(np.uint8)
