"""This file draws fields, what the network sees or should see, over the image they belong to."""

from typing import Final

import cv2
import numpy as np

from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.palette import part_color

_DIM: Final = 0.4  # what is left of the image's light under a field
_HUE_RANGE: Final = (
    150  # of OpenCV's 180 half degrees: the circle is not closed, or low would look high
)


def draw_heatmaps(image: np.ndarray, heatmaps: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The image, dimmed, with the heatmaps of each part glowing in the part's color.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        heatmaps: [K, h, w] in heatmap pixels of a map that covers the image; shown between 0 and 1.
        skeleton: what the K keypoints are.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    picture = image * np.float32(_DIM)
    for part, at in skeleton.disjoint_parts.items():
        glow = _enlarge(heatmaps[at].max(axis=0), image, cv2.INTER_LINEAR)
        picture = _blend(picture, np.array(part_color(skeleton, part)), glow)
    return np.rint(picture).astype(np.uint8)


def draw_tags(
    image: np.ndarray, tags: np.ndarray, heatmaps: np.ndarray, *, min_score: float = 0.1
) -> np.ndarray:
    """The image, dimmed, with the tag of the likeliest keypoint of each heatmap pixel as a hue.

    Equal colors are one person. The hues, red to violet, go from the lowest tag shown to the
    highest; a range below 1 does not fill them, because for the decoder it is one person.

    Args:
        image: [H, W, 3] uint8 RGB, left as it is.
        tags: [K, h, w] in heatmap pixels of a map that covers the image.
        heatmaps: [K, h, w] of the same heatmap pixels, or of smaller ones, of which the highest counts.
        min_score: heatmap pixels whose likeliest keypoint scores below show the image alone.

    Returns:
        [H, W, 3] uint8 RGB, a new array.
    """
    heatmaps = _max_pool(heatmaps, *tags.shape[1:])
    best = heatmaps.argmax(axis=0)[None]  # [1, h, w]
    scores = np.take_along_axis(heatmaps, best, axis=0)[0]
    shown = scores >= min_score  # [h, w]
    tag = np.where(shown, np.take_along_axis(tags, best, axis=0)[0], np.nan)
    colors = _enlarge(_tag_colors(tag), image, cv2.INTER_NEAREST)
    glow = _enlarge(np.where(shown, scores, 0), image, cv2.INTER_LINEAR)
    # A tag is not interpolated between people, so its color ends where its heatmap pixels end.
    inside = _enlarge(shown, image, cv2.INTER_NEAREST)
    picture = _blend(image * np.float32(_DIM), colors, inside * np.sqrt(glow))
    return np.rint(picture).astype(np.uint8)


def _max_pool(heatmaps: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Heatmaps [K, rows, columns], the highest of the smaller heatmap pixels in each heatmap pixel."""
    return heatmaps.reshape(len(heatmaps), rows, -1, columns, heatmaps.shape[-1] // columns).max(
        axis=(2, 4)
    )


def _tag_colors(tags: np.ndarray) -> np.ndarray:
    """Colors [h, w, 3] uint8 RGB of tags [h, w]; those that are no number come out red."""
    known = tags[np.isfinite(tags)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    share = np.nan_to_num((tags - low) / max(high - low, 1.0), posinf=0.0, neginf=0.0)  # 0 to 1
    hue = np.rint(share * _HUE_RANGE).astype(np.uint8)
    full = np.full_like(hue, 255)
    return cv2.cvtColor(np.stack([hue, full - 40, full], axis=-1), cv2.COLOR_HSV2RGB)


def _enlarge(field: np.ndarray, image: np.ndarray, interpolation: int) -> np.ndarray:
    """A field [h, w] or [h, w, 3] of heatmap pixels, spread over the pixels [H, W] of the image."""
    return cv2.resize(field.astype(np.float32), image.shape[1::-1], interpolation=interpolation)


def _blend(picture: np.ndarray, color: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The picture [H, W, 3] with a share [H, W] of it replaced by colors [3] or [H, W, 3]."""
    share = share.clip(0, 1)[..., None]
    return picture * (1 - share) + color * share
