"""This file draws samples: what the network sees, and what it is asked for."""

from typing import Final

import cv2
import numpy as np

from tagpose.codec.encode import Encoder
from tagpose.drawing.fields import draw_heatmaps
from tagpose.drawing.hues import Colour
from tagpose.drawing.people import draw_truth
from tagpose.drawing.sheets import side_by_side
from tagpose.skeleton import Skeleton
from tagpose.structures import Sample

_DARK: Final = 0.25  # what is left of the image's light where the loss does not count
_VEIL: Final[Colour] = (150, 0, 110)  # over it, for dark alone is not seen in the dark


def draw_sample(sample: Sample, skeleton: Skeleton, title: str) -> np.ndarray:
    """A row of four pictures: the image, its keypoints, where the loss counts, the heatmaps.

    Args:
        sample: one, not a batch; its keypoints are drawn as they came out of the augmentation.
        skeleton: what its K keypoints are.
        title: over the first picture.

    Returns:
        [H, W, 3] uint8 RGB.
    """
    image = sample.image.permute(1, 2, 0).numpy()
    targets = Encoder()(sample.keypoints[None], sample.mask[None])
    return side_by_side(
        (
            image,
            draw_truth(image, sample.keypoints.numpy(), skeleton),
            draw_mask(image, sample.mask.numpy()),
            draw_heatmaps(image, targets.heatmaps[0].numpy(), skeleton),
        ),
        (title, "keypoints", "veiled: the loss does not count", "heatmaps by part"),
    )


def draw_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image, dark and veiled where the mask is 0.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        mask: [h, w] uint8 of 0 and 1, in cells of a map that covers the image.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    counting = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    veiled = image * np.float32(_DARK) + np.array(_VEIL)
    return np.where(counting > 0, image, np.rint(veiled).clip(0, 255)).astype(np.uint8)
