"""Ahead-of-time compilation of the decoder: `python -m tagpose.codec.warm_up`."""

from typing import Final

import numpy as np

from tagpose.codec.compilation import finish_compilation
from tagpose.codec.decoder import build_decoder
from tagpose.codec.missing_keypoints import fill_missing
from tagpose.codec.peaks import find_peaks, make_peaks
from tagpose.skeletons.coco import BODY

_DECODER: Final = build_decoder(BODY)
_HEATMAPS: Final = np.zeros((1, BODY.size, 16, 16), np.float32)
_MAPS: Final = _DECODER.prepare(_HEATMAPS, _HEATMAPS[:, None])


def warm_up() -> None:
    """Load all compiled functions of the decoder; compile and cache them if necessary."""
    finish_compilation()
    compile_peaks()
    compile_people()


def compile_peaks() -> None:
    """Find the peaks of empty maps."""
    find_peaks(_MAPS, 1, _DECODER.min_score, subpixel=False)


def compile_people() -> None:
    """Group no peaks into people, and search empty maps for the keypoints of one person."""
    peaks = make_peaks(_MAPS, 1)
    _DECODER.group(peaks, 0)
    fill_missing(
        np.zeros((1, BODY.size, 3), np.float32),
        np.zeros(1, np.int64),
        np.zeros((1, _MAPS.tag_count), np.float32),
        _MAPS,
        peaks.block_maxima,
        subpixel=False,
    )


if __name__ == "__main__":
    warm_up()
