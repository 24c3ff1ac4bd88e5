"""Crowds are decoded as by the naive decoder, which upsamples all maps."""

import numpy as np
import pytest
import torch

from helpers.crowd_maps import halve_tag_resolution, make_crowd_maps
from helpers.naive_decoder import decode_naively, decode_tensors
from helpers.run_scripts import ROOT
from tagpose.codec.decoder import build_decoder
from tagpose.codec.tta import merge_flip
from tagpose.data.images import read_annotated_image
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.inference.predictor import Predictor
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import KeypointMaps

SCENES = 50
HELD_OUT = 200  # validation images of the demo
SMALL, FULL = (32, 48), (128, 176)  # heatmap pixels; FULL is a 4:3 photograph at input size 512
UNEVEN = (30, 44)  # not a multiple of the block size


def make_scenes(seeds, map_size, max_people):
    """Return merged maps of a batch of crowds with 1 to `max_people` people."""
    pairs = [make_crowd_maps(1 + seed % max_people, map_size, seed=seed) for seed in seeds]
    outputs = (
        KeypointMaps(*map(torch.cat, zip(*views, strict=True)))
        for views in zip(*pairs, strict=True)
    )
    return merge_flip(*outputs, WHOLEBODY.channel_flip_indices())


def count_matches(decoder, keypoint_maps):
    """Return the numbers of keypoints that equal those of the naive decoder, and of all."""
    matches = total = 0
    poses, expected = decode_tensors(decoder, keypoint_maps), decode_naively(decoder, keypoint_maps)
    for image_poses, image_expected in zip(poses, expected, strict=True):
        difference = image_poses.keypoints[:, None] - image_expected.keypoints  # [P, Q, K, 3]
        assert len(image_poses.keypoints) == len(image_expected.keypoints)
        is_equal = np.abs(difference).max(-1) < 0.01
        matches += is_equal.sum(-1).max(0, initial=0).sum()  # each person by its best match
        total += image_expected.keypoints[..., 0].size
    return matches, total


@pytest.mark.slow
def test_small_crowds_are_decoded_as_by_the_naive_decoder():
    decoder = build_decoder(WHOLEBODY)
    batches = [range(start, start + 10) for start in range(0, SCENES, 10)]
    sizes = [SMALL, UNEVEN, SMALL, SMALL, UNEVEN]
    counts = [
        count_matches(decoder, make_scenes(batch, map_size, max_people=8))
        for batch, map_size in zip(batches, sizes, strict=True)
    ]
    matches, total = np.sum(counts, 0)
    assert matches / total >= 0.999


@pytest.mark.timeout(3600)  # the naive decoder takes ten seconds per scene
@pytest.mark.slow
def test_full_size_crowds_are_decoded_as_by_the_naive_decoder():
    decoder = build_decoder(WHOLEBODY)
    counts = [
        count_matches(decoder, make_scenes([seed], FULL, max_people=30)) for seed in range(SCENES)
    ]
    matches, total = np.sum(counts, 0)
    assert matches / total >= 0.999


@pytest.mark.parametrize("map_size", [SMALL, UNEVEN])
def test_heatmaps_finer_than_tags_are_decoded_as_by_the_naive_decoder(map_size):
    maps = halve_tag_resolution(make_scenes(range(6), map_size, max_people=6))
    matches, total = count_matches(build_decoder(WHOLEBODY), maps)
    assert matches / total >= 0.999


@pytest.mark.timeout(3600)  # the naive decoder takes a second per image
@pytest.mark.slow
@pytest.mark.parametrize("options", [{"flip_test": False}, {}, {"scales": (1, 0.5)}])
def test_outputs_of_a_trained_network_are_decoded_as_by_the_naive_decoder(tmp_path, options):
    checkpoint = ROOT / "runs/demo/demo_finetune/best.ckpt"
    if not checkpoint.exists():
        pytest.skip("runs/demo has no checkpoint; tagpose demo trains one")
    images = HELD_OUT if options == {} else HELD_OUT // 10
    write_synthetic_dataset(tmp_path / "synthetic", train=1, val=images)
    predictor, decoder = Predictor(checkpoint, device="cpu", **options), build_decoder(WHOLEBODY)
    counts = []
    for file in sorted((tmp_path / "synthetic/val2017").iterdir()):
        views = predictor.preprocess(read_annotated_image(file))
        maps = predictor.predict_maps([image[None] for image in views.images])
        counts.append(count_matches(decoder, maps))
    matches, total = np.sum(counts, 0)
    assert matches / total >= 0.999


def test_batch_size_does_not_change_the_poses():
    decoder, maps = build_decoder(WHOLEBODY), make_scenes(range(6), SMALL, max_people=6)
    batch = decode_tensors(decoder, maps)
    for n in range(6):
        alone = decode_tensors(decoder, KeypointMaps(*(tensor[n : n + 1] for tensor in maps)))[0]
        np.testing.assert_array_equal(batch[n].keypoints, alone.keypoints)
        np.testing.assert_array_equal(batch[n].scores, alone.scores)
