"""This file lays pictures through frames."""

import cv2
import numpy as np


def warp(
    image: np.ndarray, frame: np.ndarray, size: tuple[int, int], outside: int = 0
) -> np.ndarray:
    """A picture seen through a frame.

    Args:
        image: [H, W] or [H, W, C] in image pixels.
        frame: [2, 3] image pixels -> pixels of the result.
        size: width, height of the result.
        outside: value of what the picture does not reach.
    """
    return cv2.warpAffine(image, frame, size, flags=cv2.INTER_LINEAR, borderValue=outside)
