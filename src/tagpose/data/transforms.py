"""Transforms of annotated images: random crops for training, and resizing for validation.

The random crop is a transform of albumentations, so it can be combined with other transforms.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import albumentations as A
import numpy as np

from tagpose.data.preprocessing import warp_affine
from tagpose.geometry import crop_affine, flip_affine, scale_affine, transform_points
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import STRIDE


class TransformedImage(NamedTuple):
    """Annotated image, transformed to the network input."""

    image: np.ndarray  # [H, W, 3] uint8
    keypoints: np.ndarray  # [P, K, 3] float32: x, y in input pixels, v
    mask: np.ndarray  # [h, w] uint8: 1 where the heatmap loss counts
    affine: np.ndarray  # [2, 3] image pixels -> input pixels


def resize_whole(
    image: np.ndarray,
    keypoints: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    size: tuple[int, int],
) -> TransformedImage:
    """Transform a whole annotated image by a given affine, as at test time.

    Args:
        image: [H, W, 3] uint8 in image pixels.
        keypoints: [P, K, 3] x, y in image pixels, v.
        mask: [H, W] uint8, 1 where the loss counts.
        affine: [2, 3] image pixels -> input pixels.
        size: width, height of the input in input pixels.
    """
    return TransformedImage(
        image=warp_affine(image, affine, size),
        keypoints=np.concatenate(
            [transform_points(affine, keypoints[..., :2]), keypoints[..., 2:]], -1, dtype=np.float32
        ),
        mask=_warp_mask(mask, affine, size, learn_padding=True),
        affine=affine,
    )


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


def _warp_mask(
    mask: np.ndarray, affine: np.ndarray, size: tuple[int, int], *, learn_padding: bool
) -> np.ndarray:
    """Warp a binary mask [H, W] to the heatmap pixels of an input of `size`."""
    width, height = size[0] // STRIDE, size[1] // STRIDE
    if learn_padding and mask.min() > 0:  # as in most images
        return np.ones((height, width), np.uint8)
    to_heatmap, outside = scale_affine(affine, 1 / STRIDE), 255 if learn_padding else 0
    warped = warp_affine(mask * np.uint8(255), to_heatmap, (width, height), outside=outside)
    return (warped > 127).astype(np.uint8)


class RandomAffineCrop(A.DualTransform):  # type: ignore[misc] # the library is not typed
    """Crop a random square of the image, with random scale, rotation, shift and horizontal flip.

    Besides image, mask and keypoints, the transform takes a target `affine` and returns the affine
    of the crop, image pixels -> input pixels.

    Args:
        input_size: side of the square in input pixels.
        skeleton: skeleton, whose left and right keypoints a flip swaps.
        zoom: range of the crop's side, in units of the image's shorter side.
        rotate_limit: maximum rotation in degrees, in both directions.
        shift_limit: maximum shift of the crop's center, in both directions, in units of the crop's
            side. The default is that of MMPose when the published checkpoints were trained (2020
            and 2021); MMPose v0.29 samples from 0.2 of the image's width and height.
        flip_prob: probability of a horizontal flip.
        learn_padding: whether the loss treats the padding outside the image as background. Inputs
            at test time have black margins, and a network that was not trained on padding predicts
            people there. The published training masks the padding.
    """

    def __init__(
        self,
        input_size: int,
        skeleton: Skeleton,
        zoom: tuple[float, float] = (0.75, 1.5),
        rotate_limit: float = 30.0,
        shift_limit: float = 0.2,
        flip_prob: float = 0.5,
        learn_padding: bool = True,
    ) -> None:
        super().__init__(p=1.0)
        self.input_size, self.skeleton = input_size, skeleton
        self.zoom, self.rotate_limit, self.shift_limit = tuple(zoom), rotate_limit, shift_limit
        self.flip_prob, self.learn_padding = flip_prob, learn_padding
        self.flip_indices = np.array(skeleton.flip_indices)

    @property
    def targets(self) -> dict[str, Any]:
        return {
            "image": self.apply,
            "mask": self.apply_to_mask,
            "keypoints": self.apply_to_keypoints,
            "affine": self.apply_to_affine,
        }

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        height, width = params["shape"][:2]
        random = self.py_random
        crop_size = random.uniform(*self.zoom) * min(width, height)
        limit = self.shift_limit
        dx, dy = (random.uniform(-limit, limit) * crop_size for _ in range(2))
        angle = random.uniform(-self.rotate_limit, self.rotate_limit)
        size = (self.input_size, self.input_size)
        crop = crop_affine((width / 2 + dx, height / 2 + dy), crop_size, angle, size)
        flipped = random.random() < self.flip_prob
        return {"crop": flip_affine(crop, self.input_size) if flipped else crop, "flipped": flipped}

    def apply(self, img: np.ndarray, crop: np.ndarray, **_: Any) -> np.ndarray:
        return warp_affine(img, crop, (self.input_size, self.input_size))

    def apply_to_mask(self, mask: np.ndarray, crop: np.ndarray, **_: Any) -> np.ndarray:
        size = (self.input_size, self.input_size)
        return _warp_mask(mask, crop, size, learn_padding=self.learn_padding)

    def apply_to_keypoints(
        self, keypoints: np.ndarray, crop: np.ndarray, flipped: bool, **_: Any
    ) -> np.ndarray:
        """Transform keypoints [P * K, 2 + ...], which are sorted by person."""
        moved = keypoints.copy()
        moved[:, :2] = transform_points(crop, keypoints[:, :2])
        if not flipped:
            return moved
        people = moved.reshape(-1, len(self.flip_indices), moved.shape[1])
        return people[:, self.flip_indices].reshape(moved.shape)

    def apply_to_affine(self, affine: np.ndarray, crop: np.ndarray, **_: Any) -> np.ndarray:
        del affine
        return crop

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return (
            "input_size",
            "skeleton",
            "zoom",
            "rotate_limit",
            "shift_limit",
            "flip_prob",
            "learn_padding",
        )


def compose_transforms(transforms: Sequence[A.BasicTransform]) -> Callable[..., dict[str, Any]]:
    """Chain transforms.

    Returns:
        Function that takes and returns, by keyword, image [H, W, 3], mask [H, W], keypoints
        [P * K, 3] in image pixels and affine [2, 3].
    """
    if len(transforms) == 1 and isinstance(transforms[0], RandomAffineCrop):
        return transforms[0]  # needs none of the checks and conversions of A.Compose
    points = A.KeypointParams(format="xy", remove_invisible=False)
    return A.Compose(list(transforms), keypoint_params=points)
