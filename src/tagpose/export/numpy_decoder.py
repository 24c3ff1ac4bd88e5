"""This file turns fields into people with numpy and scipy, one image and one keypoint at a time.

It goes into exported folders as it stands, as its neighbours do; `codec` does the same with torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..codec.grouping import (
    Groups,
    Ruled,
    best_people,
    gather_people,
    group_peaks,
    person_scores,
    person_tags,
)
from .numpy_filling import filled_in, sought
from .numpy_maps import between_pixels, enlarged, tops
from .numpy_peaks import best_maxima


class People(NamedTuple):
    """The people found in one image, by falling score."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y, score; rows of 0 where there is none
    scores: np.ndarray  # [P] float32


@dataclass(frozen=True)
class NumpyDecoder(Ruled):
    """Thresholds of the decoding; calling it decodes one image.

    Attributes:
        grouping_order: in which keypoints are attached to people, from the skeleton.
        stride: input pixels per cell of the tags.
        max_people: how many an image may have, the best ones; None for any number.
        max_peaks: how many a heatmap may have, the best ones.
        min_score: heatmap value that a peak must be above.
        max_tag_distance: how near a peak's tag must be to a person's.
        fill_in: whether people are given keypoints at which no peak was theirs.
        sub_cell: whether the network learned peaks between the cells.
        limb_of: for tags of people that are means over limbs; see `Grouping`.
        nearest: whether the nearer one of equal assignments is taken; see `Grouping`.
        roots: near which keypoints must be; see `Grouping`.
    """

    grouping_order: Sequence[int]
    stride: int
    max_people: int | None
    max_peaks: int
    min_score: float
    max_tag_distance: float
    fill_in: bool
    sub_cell: bool = False
    limb_of: Sequence[int] = ()
    nearest: bool = False
    roots: Sequence[Sequence[int]] = ()

    def __call__(self, heatmaps: np.ndarray, tags: np.ndarray) -> People:
        """The people of one image, keypoints in input pixels.

        Args:
            heatmaps: [K, h, w] float32, or of smaller cells than the tags.
            tags: [L, K, h, w] float32.

        Raises:
            ValueError: the fields are not finite.
        """
        if not (np.isfinite(heatmaps).all() and np.isfinite(tags).all()):
            raise ValueError("the fields hold NaN or infinity; is the network whole?")
        ratio = self.stride * tags.shape[-1] // heatmaps.shape[-1]
        groups = best_people(self._grouped(heatmaps, tags, ratio), self.max_people)
        keypoints, owners = groups.keypoints.copy(), person_tags(groups, self.limb_of)
        for k, heatmap in enumerate(heatmaps):
            points = keypoints[:, k]
            if self.fill_in and heatmap.max() > 0 and not points[:, 2].all():
                points = filled_in(points, owners, sought(heatmap, tags[:, k], self.stride))
            keypoints[:, k] = self._between_pixels(points, heatmap, ratio)
        return People(keypoints, person_scores(groups.keypoints))

    def _grouped(self, heatmaps: np.ndarray, tags: np.ndarray, ratio: int) -> Groups:
        """People with the peaks that are theirs; `ratio` input pixels are a cell of a heatmap."""
        shape = len(heatmaps), self.max_peaks
        xy, scores = np.zeros((*shape, 2), np.int64), np.zeros(shape, np.float32)
        own = np.zeros((*shape, len(tags)), np.float32)
        for k, heatmap in enumerate(heatmaps):
            best = best_maxima(heatmap, ratio, self.max_peaks, self.min_score)
            there = slice(len(best.scores))
            xy[k, there], scores[k, there] = np.stack([best.x, best.y], axis=-1), best.scores
            own[k, there] = enlarged(tags[:, k], best.x, best.y, self.stride).T
        return gather_people(group_peaks(scores, own, xy, self.grouping), xy, scores, own)

    def _between_pixels(self, points: np.ndarray, heatmap: np.ndarray, ratio: int) -> np.ndarray:
        """Points [P, 3] of one keypoint moved from their pixels; missing ones stay as they are."""
        x, y = points[:, :2].T.astype(np.int64)
        places = (tops if self.sub_cell else between_pixels)(heatmap, x, y, ratio)
        return np.where(points[:, 2:] > 0, np.c_[places, points[:, 2]], points)
