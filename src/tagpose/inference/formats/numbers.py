"""Keypoints as flat lists of short numbers, as JSON formats have them."""

from typing import Final

import numpy as np

_DECIMALS: Final = 2  # of image pixels, more than a network knows
_SCORE_DECIMALS: Final = 4


def flat(keypoints: np.ndarray) -> list[float]:
    """Return keypoints [Q, 3] as a list x0, y0, score0, x1, ... [3 * Q].

    Coordinates are rounded to hundredths of a pixel, scores to four decimals and at most 1, and
    whole numbers have no decimals, so that a missing keypoint is 0, 0, 0.
    """
    points = keypoints.astype(np.float64)
    points[:, :2] = points[:, :2].round(_DECIMALS)
    points[:, 2] = points[:, 2].clip(max=1).round(_SCORE_DECIMALS)
    return [int(value) if value.is_integer() else value for value in points.ravel().tolist()]
