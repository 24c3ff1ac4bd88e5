"""Data structures that pass between modules, with a shape behind each field.

Axes of shapes, here and in every docstring:

    B images of a batch     K keypoints of a skeleton     H W rows, columns of the network input
    P people                L tags of a keypoint          h w rows, columns of its maps
    N peaks of a heatmap    M heatmaps of a batch, B * K  T people of a batch
    F parts of a skeleton   G tag maps, K or fewer

Spaces of coordinates:

    image pixels    x to the right, y down, as in the annotations
    input pixels    image pixels after the affine [2, 3] that maps the image to the network input
    heatmap pixels  input pixels / STRIDE; the heatmap pixel of a keypoint is the integer part
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

import numpy as np

if TYPE_CHECKING:  # exported bundles contain this module and run without torch
    from torch import Tensor

STRIDE: Final = 4  # input pixels per heatmap pixel of HRNet's finest branch
MAX_STRIDE: Final = 32  # of HRNet's coarsest branch; input width and height are multiples of it
MIN_SIDE: Final = 64  # smallest width and height of the input of an exported network
MAX_VISIBILITY: Final = 2  # v of keypoints that are labeled and visible (COCO)
DEFAULT_INPUT_SIZE: Final = 512  # shorter side in input pixels at test time, as in MMPose
# area limits of small and large people in square image pixels (COCO)
MEDIUM_AREA: Final = 32.0**2
LARGE_AREA: Final = 96.0**2


class Sample(NamedTuple):
    """One sample of a data loader; a collated batch has a leading axis B in each field."""

    image: Tensor  # [3, H, W] uint8 RGB
    keypoints: Tensor  # [P, K, 3] float32: x, y in input pixels, v; padded with rows of 0
    mask: Tensor  # [h, w] uint8: 1 where the heatmap loss counts
    unlabeled: Tensor  # [P, F, 4] float32: see `ImageRecord`; in input pixels
    affine: Tensor  # [2, 3] float64: image pixels -> input pixels
    image_id: Tensor  # [] int64


class Targets(NamedTuple):
    """Training targets of a batch at one resolution, generated on the device of the network."""

    heatmaps: Tensor  # [B, K, h, w]
    foreground: Tensor  # [B, K, h, w]: foreground weights; by default the heatmaps themselves
    mask: Tensor  # [B, 1 or K, h, w]: 1 where the heatmap loss counts
    channel_weights: Tensor  # [K]: weights of the heatmaps in the loss, with a mean of 1
    # [B, P, K] int64: (g * h + y) * w + x of the heatmap pixel in tag map g; 0 if not visible
    tag_pixels: Tensor
    visible: Tensor  # [B, P, K] bool: labeled and inside the map


class MultiResolutionMaps(NamedTuple):
    """Network outputs in training: heatmaps at all resolutions, and all else at the first.

    The stride of the first resolution is STRIDE, and that of each further one is half as large.
    Networks without spatial tags predict no offsets.
    """

    heatmaps: tuple[Tensor, ...]  # [B, K, h, w], [B, K, 2 h, 2 w]
    tags: Tensor  # [B, 1, G, h, w]
    offsets: Tensor | None = None  # [B, 2, h, w] heatmap pixels: x, y to the person's center


class KeypointMaps(NamedTuple):
    """Network outputs that are decoded: heatmaps and tags."""

    heatmaps: Tensor  # [B, K, h, w]; h and w may be multiples of those of the tags
    tags: Tensor  # [B, L, G, h, w]; L is 1 or, with spatial tags, 3; the flip test doubles it


class Poses(NamedTuple):
    """Person instances in one image."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (input or image pixels), score
    scores: np.ndarray  # [P] float32


def is_int64(value: object) -> TypeGuard[int]:
    """Return whether a value from a file is an integer that fits 64 bits, such as an id."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
