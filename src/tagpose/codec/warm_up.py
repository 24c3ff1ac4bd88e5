"""Compilation of the decoder ahead of time: `python -m tagpose.codec.warm_up`."""

from typing import Final

import numpy as np

from tagpose.codec.compilation import finish_compilation
from tagpose.codec.decoder import build_decoder
from tagpose.codec.decoding_maps import DecodingMaps
from tagpose.codec.missing_keypoints import fill_missing
from tagpose.codec.peaks import find_peaks, make_peaks
from tagpose.skeletons.coco import BODY

_DECODER: Final = build_decoder(BODY)


def warm_up() -> None:
    """Compile all functions of the decoder, or load them from the cache."""
    finish_compilation()
    compile_peaks()
    compile_grouping()
    compile_missing_keypoints()


def compile_peaks() -> None:
    """Compile the search for peaks by running it on empty maps."""
    find_peaks(_empty_maps(), 1, _DECODER.min_score, subpixel=False)


def compile_grouping() -> None:
    """Compile the grouping by running it without peaks."""
    _DECODER.group(make_peaks(_empty_maps(), 1), 0)


def compile_missing_keypoints() -> None:
    """Compile the search for missing keypoints by running it on empty maps."""
    maps = _empty_maps()
    fill_missing(
        np.zeros((1, BODY.size, 3), np.float32),
        np.zeros(1, np.int64),
        np.zeros((1, maps.tag_count), np.float32),
        maps,
        make_peaks(maps, 1).block_maxima,
        subpixel=False,
    )


def _empty_maps() -> DecodingMaps:
    heatmaps = np.zeros((1, BODY.size, 16, 16), np.float32)
    return _DECODER.prepare(heatmaps, heatmaps[:, None])


if __name__ == "__main__":
    warm_up()
