"""This file says which images went wrong, and how much."""

from typing import NamedTuple

import numpy as np

from tagpose.evaluation.detections import Detections
from tagpose.evaluation.truth import Truth
from tagpose.report.errors import Kind
from tagpose.report.matches import Matches


class ImageErrors(NamedTuple):
    """What went wrong in each of N images."""

    found: np.ndarray  # [N] int64 people
    missed: np.ndarray  # [N] int64 people
    false: np.ndarray  # [N] int64 people
    lost: np.ndarray  # [N] float64: 1 - OKS of those found, together
    kinds: np.ndarray  # [N, 5] int64 keypoints of those found, by `Kind`

    @property
    def loss(self) -> np.ndarray:
        """How bad each image is, [N] float64: as if so many people were missed or invented."""
        return self.missed + self.false + self.lost


def image_errors(
    truth: Truth, found: Detections, matches: Matches, kinds: np.ndarray
) -> ImageErrors:
    """The errors of each image.

    Args:
        truth: of N images.
        found: the people found in them.
        matches: F people who were found.
        kinds: [F, K] of their keypoints.
    """
    images = len(truth.image_ids)
    image = truth.image[matches.person]  # [F]
    rows, columns = np.nonzero(kinds >= 0)
    place = image[rows] * len(Kind) + kinds[rows, columns]
    return ImageErrors(
        found=np.bincount(image, minlength=images),
        missed=np.bincount(truth.image[matches.missed], minlength=images),
        false=np.bincount(found.image[matches.false], minlength=images),
        lost=np.bincount(image, 1 - matches.oks, minlength=images),
        kinds=np.bincount(place, minlength=images * len(Kind)).reshape(images, len(Kind)),
    )


def largest(values: np.ndarray, count: int) -> list[int]:
    """Places of the largest values above 0, at most `count`, the largest first."""
    order = np.argsort(-values, kind="stable")[:count]
    return order[values[order] > 0].tolist()
