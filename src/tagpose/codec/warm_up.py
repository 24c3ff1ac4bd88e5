"""Ahead-of-time compilation of the decoder: `python -m tagpose.codec.warm_up`."""

import gc

import numpy as np

from tagpose.codec.decoder import build_decoder
from tagpose.codec.decoding_maps import FlippedOutputs
from tagpose.skeletons.coco import BODY


def warm_up() -> None:
    """Compile and cache all functions of the decoder by decoding random maps."""
    heatmaps = np.random.default_rng(0).random((1, BODY.size, 16, 16), np.float32)
    tags, decoder = heatmaps[:, None], build_decoder(BODY)
    flip_indices = (np.array(indices) for indices in BODY.channel_flip_indices())
    flipped = FlippedOutputs(heatmaps, tags, *flip_indices)
    decoder(heatmaps, tags)
    decoder(heatmaps, tags, flipped=flipped)


if __name__ == "__main__":
    gc.disable()  # it takes a fifth of the time, and the process is short-lived
    warm_up()
