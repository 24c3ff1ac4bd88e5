"""This file holds the nouns: what flows from a file to a score, with a shape behind each field.

The alphabet of the shapes, here and in every docstring:

    B images of a batch     K keypoints of a skeleton    H W rows, columns of the network's input
    P people                L tags of a keypoint         h w rows, columns of its maps
    N peaks of a heatmap    M maps, the K of all images  T people of all images
    F parts of a skeleton    G tag maps, as many as K or fewer

Three spaces, never only "pixels":

    image pixels   x to the right, y down, as the annotations have them
    input pixels   the same after the affine [2, 3] that fills the network's input
    heatmap pixels          input pixels / STRIDE; the heatmap pixel of a keypoint is the integer part
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

import numpy as np

if TYPE_CHECKING:  # exported bundles contain this file and run without torch
    from torch import Tensor

STRIDE: Final = 4  # input pixels per heatmap pixel: the finest branch of an HRNet
MAX_STRIDE: Final = 32  # of its coarsest branch, so what the sides of an input are multiples of
MAX_VISIBILITY: Final = 2  # v of what is labelled and visible (COCO); parts have what lies between
DEFAULT_INPUT_SIZE: Final = 512  # input pixels of the shorter side of a test, as published
# square image pixels: smaller people are small, larger ones large (COCO)
MEDIUM_AREA: Final = 32.0**2
LARGE_AREA: Final = 96.0**2


class ImageRecord(NamedTuple):
    """One image of a data set and what is known of the people in it."""

    image_id: int
    file: Path
    width: int  # image pixels
    height: int  # image pixels
    keypoints: np.ndarray  # [P, K, 3] float32: x, y in image pixels, v > 0 where labelled
    ignored: tuple[dict[str, object], ...]  # RLE masks of crowds and people without any keypoint
    # [P, F, 4] float32 left, top, right, bottom in image pixels of where a person's part may be
    # that has no label at all; 0 where it has some
    unlabelled: np.ndarray


class Sample(NamedTuple):
    """What a data loader hands to the network; collated, each field gains a leading B."""

    image: Tensor  # [3, H, W] uint8 RGB
    keypoints: Tensor  # [P, K, 3] float32: x, y in input pixels, v; absent people are rows of 0
    mask: Tensor  # [h, w] uint8: 1 where the heatmap loss counts
    unlabelled: Tensor  # [P, F, 4] float32: as the record's, in input pixels
    affine: Tensor  # [2, 3] float64: image pixels -> input pixels
    image_id: Tensor  # [] int64


class Targets(NamedTuple):
    """What the network's fields should be, drawn on the device of the network."""

    heatmaps: Tensor  # [B, K, h, w]
    foreground: (
        Tensor  # [B, K, h, w]: where an error may weigh more; the heatmaps themselves mostly
    )
    mask: Tensor  # [B, 1 or K, h, w]: 1 where the heatmap loss counts
    # [B, P, K] int64: (g * h + y) * w + x of the heatmap pixel in tag map g, 0 where not visible
    tag_pixels: Tensor
    visible: Tensor  # [B, P, K] bool: labelled and inside the map


class MultiResolutionMaps(NamedTuple):
    """What the network learns to predict: heatmaps at each of its resolutions, tags at the first.

    The first has heatmap pixels of STRIDE input pixels, each further one heatmap pixels of half the side.
    """

    heatmaps: tuple[Tensor, ...]  # [B, K, h, w], [B, K, 2 h, 2 w]
    tags: Tensor  # [B, 1, G, h, w]


class KeypointMaps(NamedTuple):
    """What the network predicts: where keypoints are, and whose."""

    heatmaps: Tensor  # [B, K, h, w], or of smaller heatmap pixels than the tags
    tags: Tensor  # [B, L, G, h, w]; L is 1 out of the network, 2 after the flip test


class Poses(NamedTuple):
    """The people found in one image."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y (the docstring says in which space), score
    scores: np.ndarray  # [P] float32


def is_int64(value: object) -> TypeGuard[int]:
    """Whether a value that was read can be an id or a size: a whole number that fits 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
