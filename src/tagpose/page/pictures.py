"""This file draws what the page shows: people, heatmaps and tags, all over the same picture."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from torch.nn.functional import adaptive_max_pool2d

from tagpose.drawing.fields import draw_heatmaps, draw_tags
from tagpose.drawing.people import draw_people
from tagpose.geometry import compose
from tagpose.inference.found import Found
from tagpose.page.looking import Looked
from tagpose.skeleton import Skeleton
from tagpose.structures import STRIDE, People

_ANY: Final = float(np.finfo(np.float32).tiny)  # a missing keypoint scores 0


def people_picture(looked: Looked, found: Found) -> np.ndarray:
    """The picture with those found in it, framed and numbered as in the table.

    Args:
        looked: the image.
        found: in image pixels.

    Returns:
        [rows, columns, 3] uint8 RGB, as large as `looked.picture`.
    """
    zoom = np.array(looked.picture.shape[1::-1]) / looked.size
    # the centre of a pixel is its index, here and there
    xy = (found.keypoints[..., :2] + 0.5) * zoom - 0.5
    keypoints = np.concatenate([xy, found.keypoints[..., 2:]], -1)
    numbers = [str(number) for number in range(1, len(found.scores) + 1)]
    return draw_people(
        looked.picture,
        People(keypoints, found.scores),
        found.skeleton,
        min_score=_ANY,
        labels=numbers,
        boxes=True,
    )


def heatmaps_picture(looked: Looked, skeleton: Skeleton, part: str) -> np.ndarray:
    """The picture with the heatmaps of one of `skeleton.parts`, in the colours of the parts."""
    at = skeleton.parts[part]
    heatmaps = _over_image(looked.fields.heatmaps[0, at].numpy(), looked, cv2.INTER_LINEAR)
    every = np.zeros((skeleton.size, *heatmaps.shape[1:]), np.float32)
    every[at] = heatmaps
    return draw_heatmaps(looked.picture, every, skeleton)


def tags_picture(
    looked: Looked, skeleton: Skeleton, tag_index: Sequence[int], part: str, min_score: float
) -> np.ndarray:
    """Draw the tags of one of `skeleton.parts` on the image, where its heatmaps reach a score.

    Args:
        looked: the image.
        skeleton: of the network.
        tag_index: [K] the tag map of each keypoint.
        part: name of the part.
        min_score: heatmap value.
    """
    at, tags = skeleton.parts[part], looked.fields.tags
    # those merged over scales are finer than the tags
    heatmaps = adaptive_max_pool2d(looked.fields.heatmaps[0, at], tags.shape[-2:])
    upright = tags[0, 0, list(tag_index[at])]  # not those of the mirrored image
    # between two people there is no tag, so none is interpolated
    maps = (_over_image(one.numpy(), looked, cv2.INTER_NEAREST) for one in (upright, heatmaps))
    return draw_tags(looked.picture, *maps, min_score=min_score)


def _over_image(maps: np.ndarray, looked: Looked, interpolation: int) -> np.ndarray:
    """Maps [M, rows, columns] that cover the image, of maps [M, h, w] that cover the input.

    The input is longer than the image, as its sides are multiples.
    """
    cell = STRIDE * looked.fields.tags.shape[-1] / maps.shape[-1]  # input pixels
    frame, size = looked.frame[0].numpy(), np.array(looked.size)
    columns, rows = np.ceil(size * frame[0, 0] / cell).astype(int).tolist()
    grid = _stretch(size / (columns, rows))
    # a keypoint in cell i is read back as i + 1/2 cells
    to_cells = np.array([[1 / cell, 0, -0.5], [0, 1 / cell, -0.5]])
    warp = compose(to_cells, compose(frame, grid))
    flags = interpolation | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return np.stack(
        [cv2.warpAffine(one, warp, (columns, rows), flags=flags, borderMode=border) for one in maps]
    )


def _stretch(factors: np.ndarray) -> np.ndarray:
    """The frame [2, 3] between two pictures of the same, whose pixels' centres are integers."""
    return np.c_[np.diag(factors), factors / 2 - 0.5]
