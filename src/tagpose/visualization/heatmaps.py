"""Heatmaps and tags, drawn over the image they belong to."""

from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.skeleton_colors import part_color

_BRIGHTNESS: Final = 0.4  # of the image under the maps
_HUE_RANGE: Final = 150  # of OpenCV's 180; on the full circle, low and high would look the same


def draw_heatmaps(image: np.ndarray, heatmaps: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return the dimmed image with the heatmaps of each part overlaid in the part's color.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        heatmaps: heatmaps [K, h, w] that cover the image; values are clipped to [0, 1].
        skeleton: skeleton with K keypoints.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    picture = image * np.float32(_BRIGHTNESS)
    for part, at in skeleton.disjoint_parts.items():
        strength = _resize(heatmaps[at].max(axis=0), image, cv2.INTER_LINEAR)
        picture = _blend(picture, np.array(part_color(skeleton, part)), strength)
    return np.rint(picture).astype(np.uint8)


def draw_tags(
    image: np.ndarray, tags: np.ndarray, heatmaps: np.ndarray, *, min_score: float = 0.1
) -> np.ndarray:
    """Return the dimmed image with the tag of each heatmap pixel's likeliest keypoint as a hue.

    Equal colors mean the same person. The hues run from red at the lowest displayed tag to violet
    at the highest. A range of tags below 1 uses only a part of the hues, because the decoder
    treats such tags as one person.

    Args:
        image: image [H, W, 3] uint8 RGB, not modified.
        tags: tags [K, h, w] that cover the image.
        heatmaps: heatmaps [K, h, w], or of an integer multiple of that resolution (max-pooled).
        min_score: score of the likeliest keypoint below which a heatmap pixel has no overlay.

    Returns:
        Picture [H, W, 3] uint8 RGB, a new array.
    """
    heatmaps = _max_pool(heatmaps, *tags.shape[1:])
    best = heatmaps.argmax(axis=0)[None]  # [1, h, w]
    scores = np.take_along_axis(heatmaps, best, axis=0)[0]
    visible = scores >= min_score  # [h, w]
    tag = np.where(visible, np.take_along_axis(tags, best, axis=0)[0], np.nan)
    colors = _resize(_tag_colors(tag), image, cv2.INTER_NEAREST)
    strength = _resize(np.where(visible, scores, 0), image, cv2.INTER_LINEAR)
    # Tags are not interpolated between people, so colors end at the edge of a heatmap pixel.
    mask = _resize(visible, image, cv2.INTER_NEAREST)
    picture = _blend(image * np.float32(_BRIGHTNESS), colors, mask * np.sqrt(strength))
    return np.rint(picture).astype(np.uint8)


def _max_pool(heatmaps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Reduce heatmaps [K, n * height, m * width] to [K, height, width] by the maximum."""
    return heatmaps.reshape(len(heatmaps), height, -1, width, heatmaps.shape[-1] // width).max(
        axis=(2, 4)
    )


def _tag_colors(tags: np.ndarray) -> np.ndarray:
    """Return colors [h, w, 3] uint8 RGB of tags [h, w]; non-finite tags are red."""
    finite = tags[np.isfinite(tags)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    fraction = np.nan_to_num((tags - low) / max(high - low, 1.0), posinf=0.0, neginf=0.0)  # 0 to 1
    hue = np.rint(fraction * _HUE_RANGE).astype(np.uint8)
    full = np.full_like(hue, 255)
    return cv2.cvtColor(np.stack([hue, full - 40, full], axis=-1), cv2.COLOR_HSV2RGB)


def _resize(map_: np.ndarray, image: np.ndarray, interpolation: int) -> np.ndarray:
    """Resize a map [h, w] or [h, w, 3] in heatmap pixels to the size [H, W] of the image."""
    return cv2.resize(map_.astype(np.float32), image.shape[1::-1], interpolation=interpolation)


def _blend(picture: np.ndarray, color: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Blend colors [3] or [H, W, 3] over the picture [H, W, 3] with an opacity [H, W]."""
    opacity = opacity.clip(0, 1)[..., None]
    return picture * (1 - opacity) + color * opacity
