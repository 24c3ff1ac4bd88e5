"""This file turns a record into network input: the training view, and the whole image at test time.

The training view is a transform of albumentations, so that its others compose with it.
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
    """A record as the network will see it."""

    image: np.ndarray  # [H, W, 3] uint8
    keypoints: np.ndarray  # [P, K, 3] float32: x, y in input pixels, v
    mask: np.ndarray  # [h, w] uint8
    affine: np.ndarray  # [2, 3] image pixels -> input pixels


def resize_whole(
    image: np.ndarray,
    keypoints: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    size: tuple[int, int],
) -> TransformedImage:
    """The view of a record through a given affine, as at test time.

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


def _warp_mask(
    mask: np.ndarray, affine: np.ndarray, size: tuple[int, int], *, learn_padding: bool
) -> np.ndarray:
    """A mask [H, W] of 0 and 1 in heatmap pixels of an input of `size`."""
    width, height = size[0] // STRIDE, size[1] // STRIDE
    if learn_padding and mask.min() > 0:  # as in most images
        return np.ones((height, width), np.uint8)
    to_heatmap, outside = scale_affine(affine, 1 / STRIDE), 255 if learn_padding else 0
    shown = warp_affine(mask * np.uint8(255), to_heatmap, (width, height), outside=outside)
    return (shown > 127).astype(np.uint8)


class RandomAffineCrop(A.DualTransform):  # type: ignore[misc] # the library is not typed
    """A random square of the image: zoomed, turned, shifted, flipped.

    Beside image, mask and keypoints it takes a `affine` and hands on image pixels -> input pixels.

    Args:
        input_size: of the square in input pixels.
        skeleton: whose left and right a flip swaps.
        zoom: range of the view's side, in units of the image's shorter side.
        rotate_limit: largest turn in degrees, either way.
        shift_limit: largest shift of the view's centre, either way, in units of the view's side; 0.2 is
            that of MMPose when the published checkpoints were made (2020 and 2021). v0.29 draws
            from 0.2 of the image's width and height.
        flip_prob: of a flipped view.
        learn_padding: whether what is outside of the image counts, as a place where nobody is:
            inputs at test time have black margins, and a network that never learned to be silent
            there finds people in them. The published training masks it.
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
        draw = self.py_random
        crop_size = draw.uniform(*self.zoom) * min(width, height)
        dx, dy = (draw.uniform(-self.shift_limit, self.shift_limit) * crop_size for _ in range(2))
        angle = draw.uniform(-self.rotate_limit, self.rotate_limit)
        size = (self.input_size, self.input_size)
        view = crop_affine((width / 2 + dx, height / 2 + dy), crop_size, angle, size)
        flipped = draw.random() < self.flip_prob
        return {"view": flip_affine(view, self.input_size) if flipped else view, "flipped": flipped}

    def apply(self, img: np.ndarray, view: np.ndarray, **_: Any) -> np.ndarray:
        return warp_affine(img, view, (self.input_size, self.input_size))

    def apply_to_mask(self, mask: np.ndarray, view: np.ndarray, **_: Any) -> np.ndarray:
        size = (self.input_size, self.input_size)
        return _warp_mask(mask, view, size, learn_padding=self.learn_padding)

    def apply_to_keypoints(
        self, keypoints: np.ndarray, view: np.ndarray, flipped: bool, **_: Any
    ) -> np.ndarray:
        """Keypoints [P * K, 2 + ...], person after person."""
        moved = keypoints.copy()
        moved[:, :2] = transform_points(view, keypoints[:, :2])
        if not flipped:
            return moved
        people = moved.reshape(-1, len(self.flip_indices), moved.shape[1])
        return people[:, self.flip_indices].reshape(moved.shape)

    def apply_to_affine(self, affine: np.ndarray, view: np.ndarray, **_: Any) -> np.ndarray:
        del affine
        return view

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
    """Transforms one after the other.

    Takes and gives back, by name: image [H, W, 3], mask [H, W], keypoints [P * K, 3] in image
    pixels, affine [2, 3].
    """
    if len(transforms) == 1 and isinstance(transforms[0], RandomAffineCrop):
        return transforms[0]  # it needs nothing of what Compose checks and converts
    points = A.KeypointParams(format="xy", remove_invisible=False)
    return A.Compose(list(transforms), keypoint_params=points)
