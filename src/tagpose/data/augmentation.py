"""This file turns a record into network input: the training view, and the whole image at test time.

The training view is a transform of albumentations, so that its others compose with it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import albumentations as A
import numpy as np

from tagpose.data.warping import warp
from tagpose.geometry import apply, mirror_frame, scale_frame, view_frame
from tagpose.skeleton import Skeleton
from tagpose.structures import STRIDE


class View(NamedTuple):
    """A record as the network will see it."""

    image: np.ndarray  # [H, W, 3] uint8
    keypoints: np.ndarray  # [P, K, 3] float32: x, y in input pixels, v
    mask: np.ndarray  # [h, w] uint8
    frame: np.ndarray  # [2, 3] image pixels -> input pixels


def show_whole(
    image: np.ndarray,
    keypoints: np.ndarray,
    mask: np.ndarray,
    frame: np.ndarray,
    size: tuple[int, int],
) -> View:
    """The view of a record through a given frame, as at test time.

    Args:
        image: [H, W, 3] uint8 in image pixels.
        keypoints: [P, K, 3] x, y in image pixels, v.
        mask: [H, W] uint8, 1 where the loss counts.
        frame: [2, 3] image pixels -> input pixels.
        size: width, height of the input in input pixels.
    """
    return View(
        image=warp(image, frame, size),
        keypoints=np.concatenate(
            [apply(frame, keypoints[..., :2]), keypoints[..., 2:]], -1, dtype=np.float32
        ),
        mask=_warp_mask(mask, frame, size, outside_counts=True),
        frame=frame,
    )


def _warp_mask(
    mask: np.ndarray, frame: np.ndarray, size: tuple[int, int], *, outside_counts: bool
) -> np.ndarray:
    """A mask [H, W] of 0 and 1 in cells of an input of `size`."""
    width, height = size[0] // STRIDE, size[1] // STRIDE
    if outside_counts and mask.min() > 0:  # as in most images
        return np.ones((height, width), np.uint8)
    cells, outside = scale_frame(frame, 1 / STRIDE), 255 if outside_counts else 0
    shown = warp(mask * np.uint8(255), cells, (width, height), outside=outside)
    return (shown > 127).astype(np.uint8)


class TrainingView(A.DualTransform):  # type: ignore[misc] # the library is not typed
    """A random square of the image: zoomed, turned, shifted, mirrored.

    Beside image, mask and keypoints it takes a `frame` and hands on image pixels -> input pixels.

    Args:
        side: of the square in input pixels.
        skeleton: whose left and right a mirror swaps.
        zoom: range of the view's side, in units of the image's shorter side.
        angle: largest turn in degrees, either way.
        shift: largest shift of the view's centre, either way, in units of the view's side; 0.2 is
            that of MMPose when the published checkpoints were made (2020 and 2021). v0.29 draws
            from 0.2 of the image's width and height.
        mirror_chance: of a mirrored view.
        outside_counts: whether what is outside of the image counts, as a place where nobody is:
            inputs at test time have black margins, and a network that never learned to be silent
            there finds people in them. The published training masks it.
    """

    def __init__(
        self,
        side: int,
        skeleton: Skeleton,
        zoom: tuple[float, float] = (0.75, 1.5),
        angle: float = 30.0,
        shift: float = 0.2,
        mirror_chance: float = 0.5,
        outside_counts: bool = True,
    ) -> None:
        super().__init__(p=1.0)
        self.side, self.skeleton = side, skeleton
        self.zoom, self.angle, self.shift = tuple(zoom), angle, shift
        self.mirror_chance, self.outside_counts = mirror_chance, outside_counts
        self.mirror = np.array(skeleton.mirror)

    @property
    def targets(self) -> dict[str, Any]:
        return {
            "image": self.apply,
            "mask": self.apply_to_mask,
            "keypoints": self.apply_to_keypoints,
            "frame": self.apply_to_frame,
        }

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        height, width = params["shape"][:2]
        draw = self.py_random
        side = draw.uniform(*self.zoom) * min(width, height)
        dx, dy = (draw.uniform(-self.shift, self.shift) * side for _ in range(2))
        angle = draw.uniform(-self.angle, self.angle)
        size = (self.side, self.side)
        view = view_frame((width / 2 + dx, height / 2 + dy), side, angle, size)
        mirrored = draw.random() < self.mirror_chance
        return {"view": mirror_frame(view, self.side) if mirrored else view, "mirrored": mirrored}

    def apply(self, img: np.ndarray, view: np.ndarray, **_: Any) -> np.ndarray:
        return warp(img, view, (self.side, self.side))

    def apply_to_mask(self, mask: np.ndarray, view: np.ndarray, **_: Any) -> np.ndarray:
        size = (self.side, self.side)
        return _warp_mask(mask, view, size, outside_counts=self.outside_counts)

    def apply_to_keypoints(
        self, keypoints: np.ndarray, view: np.ndarray, mirrored: bool, **_: Any
    ) -> np.ndarray:
        """Keypoints [P * K, 2 + ...], person after person."""
        moved = keypoints.copy()
        moved[:, :2] = apply(view, keypoints[:, :2])
        if not mirrored:
            return moved
        people = moved.reshape(-1, len(self.mirror), moved.shape[1])
        return people[:, self.mirror].reshape(moved.shape)

    def apply_to_frame(self, frame: np.ndarray, view: np.ndarray, **_: Any) -> np.ndarray:
        del frame
        return view

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ("side", "skeleton", "zoom", "angle", "shift", "mirror_chance", "outside_counts")


def in_order(transforms: Sequence[A.BasicTransform]) -> Callable[..., dict[str, Any]]:
    """Transforms one after the other.

    Takes and gives back, by name: image [H, W, 3], mask [H, W], keypoints [P * K, 3] in image
    pixels, frame [2, 3].
    """
    if len(transforms) == 1 and isinstance(transforms[0], TrainingView):
        return transforms[0]  # it needs nothing of what Compose checks and converts
    points = A.KeypointParams(format="xy", remove_invisible=False)
    return A.Compose(list(transforms), keypoint_params=points)
