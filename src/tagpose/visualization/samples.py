"""This file draws samples: what the network sees, and what it is asked for."""

from typing import Final

import cv2
import numpy as np

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Sample
from tagpose.visualization.colors import Color
from tagpose.visualization.heatmaps import draw_heatmaps
from tagpose.visualization.image_grid import make_image_row
from tagpose.visualization.palette import part_color
from tagpose.visualization.poses import draw_ground_truth

_DIM: Final = 0.25  # what is left of the image's light where the loss does not count
_MASK_COLOR: Final[Color] = (150, 0, 110)  # over it, for dark alone is not seen in the dark


def draw_sample(sample: Sample, skeleton: Skeleton, title: str) -> np.ndarray:
    """A row of four pictures: the image, its keypoints, where the loss counts, the heatmaps.

    Over the third are the boxes in which parts without labels may be, which `HeatmapEncoder` may spare.

    Args:
        sample: one, not a batch; its keypoints are drawn as they came out of the augmentation.
        skeleton: what its K keypoints are.
        title: over the first picture.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    image = sample.image.permute(1, 2, 0).numpy()
    targets = HeatmapEncoder()(sample.keypoints[None], sample.mask[None])
    return make_image_row(
        (
            image,
            draw_ground_truth(image, sample.keypoints.numpy(), skeleton),
            draw_boxes(draw_mask(image, sample.mask.numpy()), sample.unlabelled.numpy(), skeleton),
            draw_heatmaps(image, targets.heatmaps[0].numpy(), skeleton),
        ),
        (title, "keypoints", "veiled: no loss; boxes: unlabelled parts", "heatmaps by part"),
    )


def draw_boxes(image: np.ndarray, boxes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The image with the outlines of boxes in their parts' colors.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        boxes: [P, F, 4] left, top, right, bottom in pixels of it; those of no size are none.
        skeleton: whose parts they are.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    drawn = image.copy()
    for part, of_part in zip(skeleton.disjoint_parts, boxes.swapaxes(0, 1), strict=True):
        for left, top, right, bottom in np.rint(of_part).astype(int).tolist():
            if right > left:
                cv2.rectangle(drawn, (left, top), (right, bottom), part_color(skeleton, part), 1)
    return drawn


def draw_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image, dark and veiled where the mask is 0.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        mask: [h, w] uint8 of 0 and 1, in heatmap pixels of a map that covers the image.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    counting = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    veiled = image * np.float32(_DIM) + np.array(_MASK_COLOR)
    return np.where(counting > 0, image, np.rint(veiled).clip(0, 255)).astype(np.uint8)
