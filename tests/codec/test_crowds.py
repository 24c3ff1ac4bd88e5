"""Crowds are decoded as the method is written down, though nothing is enlarged."""

import numpy as np
import pytest
import torch

from helpers.crowd_maps import crowd, finer
from helpers.naive_decoder import decode, plain_decode
from helpers.run_scripts import ROOT
from tagpose.codec.decoder import build_decoder
from tagpose.codec.tta import merge_flip
from tagpose.data.image_files import read_annotated_image
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.inference.predictor import Predictor
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import KeypointMaps

SCENES = 50
HELD_OUT = 200  # images of the demo
SMALL, WHOLE = (32, 48), (128, 176)  # heatmap pixels; the second is the input of a 4:3 photograph
UNEVEN = (30, 44)  # not of whole tiles


def scenes(numbers, map_size, most):
    """KeypointMaps of a batch of scenes, each with another number of people."""
    views = [crowd(1 + number % most, map_size, seed=number) for number in numbers]
    pairs = (
        KeypointMaps(*map(torch.cat, zip(*side, strict=True))) for side in zip(*views, strict=True)
    )
    return merge_flip(*pairs, WHOLEBODY.channel_flip_indices())


def agreeing(found, expected):
    """How many keypoints of the expected people are among those found, and how many they have."""
    same = every = 0
    for ours, theirs in zip(found, expected, strict=True):
        apart = np.abs(ours.keypoints[:, None] - theirs.keypoints).max(-1)  # [P, Q, K]
        assert len(ours.keypoints) == len(theirs.keypoints)
        same += (apart < 0.01).sum(-1).max(0, initial=0).sum()  # each person by its best match
        every += theirs.keypoints[..., 0].size
    return same, every


def agreeing_with_plain(decoder, keypoint_maps):
    """The same of what the plain decoding finds."""
    return agreeing(decode(decoder, keypoint_maps), plain_decode(decoder, keypoint_maps))


@pytest.mark.slow
def test_small_scenes_decode_as_their_enlarged_maps_do():
    decoder = build_decoder(WHOLEBODY)
    batches = [range(start, start + 10) for start in range(0, SCENES, 10)]
    sizes = [SMALL, UNEVEN, SMALL, SMALL, UNEVEN]
    counts = [
        agreeing_with_plain(decoder, scenes(batch, map_size, most=8))
        for batch, map_size in zip(batches, sizes, strict=True)
    ]
    same, every = np.sum(counts, 0)
    assert same / every >= 0.999


@pytest.mark.timeout(3600)  # the plain search takes ten seconds a scene
@pytest.mark.slow
def test_whole_scenes_decode_as_their_enlarged_maps_do():
    decoder = build_decoder(WHOLEBODY)
    counts = [
        agreeing_with_plain(decoder, scenes([number], WHOLE, most=30)) for number in range(SCENES)
    ]
    same, every = np.sum(counts, 0)
    assert same / every >= 0.999


@pytest.mark.parametrize("map_size", [SMALL, UNEVEN])
def test_scenes_with_finer_heatmaps_decode_as_their_enlarged_maps_do(map_size):
    decoder = build_decoder(WHOLEBODY)
    same, every = agreeing_with_plain(decoder, finer(scenes(range(6), map_size, most=6)))
    assert same / every >= 0.999


@pytest.mark.timeout(3600)  # the plain search takes a second an image
@pytest.mark.slow
@pytest.mark.parametrize("test", [{"flip_test": False}, {}, {"scales": (1, 0.5)}])
def test_outputs_of_a_trained_network_decode_as_their_enlarged_maps_do(tmp_path, test):
    checkpoint = ROOT / "runs/demo/demo_finetune/best.ckpt"
    if not checkpoint.exists():
        pytest.skip("runs/demo has no checkpoint; make demo trains one")
    write_synthetic_dataset(
        tmp_path / "drawn", train=1, val=HELD_OUT if test == {} else HELD_OUT // 10
    )
    predictor, decoder, counts = (
        Predictor(checkpoint, device="cpu", **test),
        build_decoder(WHOLEBODY),
        [],
    )
    for file in sorted((tmp_path / "drawn/val2017").iterdir()):
        views = predictor.preprocess(read_annotated_image(file))
        counts.append(
            agreeing_with_plain(decoder, predictor.predict_maps([v[None] for v in views.images]))
        )
    same, every = np.sum(counts, 0)
    assert same / every >= 0.999


def test_people_are_the_same_in_a_batch_of_any_size():
    decoder, together = build_decoder(WHOLEBODY), scenes(range(6), SMALL, most=6)
    batch = decode(decoder, together)
    for number in range(6):
        alone = decode(decoder, KeypointMaps(*(part[number : number + 1] for part in together)))[0]
        np.testing.assert_array_equal(batch[number].keypoints, alone.keypoints)
        np.testing.assert_array_equal(batch[number].scores, alone.scores)
