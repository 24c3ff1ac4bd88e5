"""Predictions do not depend on batches, and are consistent over flips, scales and datasets."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from tagpose.codec.decoder import build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import flip_maps
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.preprocessing import resize_to_scales
from tagpose.inference.predictor import Predictor
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.structures import KeypointMaps

INPUT_SIZE = 64


@pytest.fixture(
    scope="module",
    params=[("hrnet_w18_small", 0.0), ("higherhrnet_w18_small", 0.0), ("hrnet_w18_small", 4.0)],
    ids=["hrnet", "higherhrnet", "spatial_tags"],
)
def network(request):
    """An untrained network that detects people."""
    torch.manual_seed(3)
    architecture, spatial_tags = request.param
    network = PoseNetwork(architecture, BODY, tag_init_std=0.5, spatial_tags=spatial_tags).eval()
    torch.nn.init.normal_(network.head.weight[: BODY.size], std=0.05)
    if network.higher_head:
        torch.nn.init.normal_(network.higher_head.head.weight, std=0.05)
    return network


def make_images(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]


def predict_maps(predictor, *images):
    inputs = [resize_to_scales(image, predictor.input_size, predictor.scales) for image in images]
    return predictor.predict_maps(default_collate(inputs).images)


@pytest.mark.parametrize(
    "scales", [(1,), (2, 1, 0.5), pytest.param((1, 0.5), marks=pytest.mark.slow)]
)
def test_a_batch_has_the_same_maps_as_single_images(network, scales):
    predictor = Predictor(network, input_size=INPUT_SIZE * 2, scales=scales, device="cpu")
    images = make_images(*3 * [(90, 130)])
    batch = predict_maps(predictor, *images)
    for number, image in enumerate(images):
        for batch_maps, single_maps in zip(batch, predict_maps(predictor, image), strict=True):
            torch.testing.assert_close(batch_maps[number], single_maps[0], atol=1e-3, rtol=1e-3)


def test_the_maps_of_a_flipped_image_are_the_flipped_maps(network):
    predictor = Predictor(network, input_size=INPUT_SIZE, device="cpu")
    (image,) = make_images((INPUT_SIZE, 2 * INPUT_SIZE))
    maps, flipped = (predict_maps(predictor, pixels) for pixels in (image, image[:, ::-1]))
    flipped_back = flip_maps(flipped, BODY.channel_flip_indices())
    torch.testing.assert_close(flipped_back.heatmaps, maps.heatmaps)
    # the tags of the image and of its flip change places
    of_image, of_flipped = flipped_back.tags.chunk(2, 1)
    torch.testing.assert_close(torch.cat([of_flipped, of_image], 1), maps.tags)


def test_results_are_in_the_order_of_images_of_different_sizes(network):
    predictor = Predictor(network, input_size=INPUT_SIZE, device="cpu")
    images = make_images((60, 90), (90, 60), (61, 91), (64, 64))
    for result, image in zip(predictor(images), images, strict=True):
        single = predictor([image])[0]
        assert len(result.scores) == len(single.scores)
        assert result.scores == pytest.approx(single.scores, abs=1e-4)


def test_an_image_of_twice_the_size_has_the_same_people_of_twice_the_size(network):
    predictor = Predictor(network, input_size=INPUT_SIZE, device="cpu")
    (image,) = make_images((INPUT_SIZE, INPUT_SIZE))
    large = predictor([image.repeat(2, 0).repeat(2, 1)])[0]
    # the affine maps pixels to pixels, so the large image is reduced to every second pixel
    small = predictor([image])[0]
    assert large.keypoints[..., :2] == pytest.approx(2 * small.keypoints[..., :2], abs=1e-2)


def test_a_data_set_is_predicted_once_per_image(network, people):
    split = ("annotations/person_keypoints_val2017.json", "val2017")
    data = PoseDataModule(
        people, BODY, split, split, INPUT_SIZE, 4, 4, num_workers=0, transforms={}
    )
    data.setup("validate")
    annotations = data.annotations[data.val_split]
    predictor = Predictor(network, input_size=INPUT_SIZE * 2, scales=(2, 1, 0.5), device="cpu")
    loader = data.test_time_dataloader(predictor.input_size, predictor.scales)
    predictions = predictor.predict_dataset(loader)
    image_ids = [annotations.record(i).image_id for i in range(len(annotations))]
    assert sorted(predictions) == sorted(image_ids)


def test_maps_in_bf16_are_float32_and_differ_by_rounding(network):
    (image,) = make_images((INPUT_SIZE, INPUT_SIZE))
    float32, bf16 = (
        predict_maps(
            Predictor(network, input_size=INPUT_SIZE, device="cpu", precision=precision), image
        )
        for precision in ("float32", "bf16")
    )
    for actual, expected in zip(bf16, float32, strict=True):
        assert actual.dtype == torch.float32
        assert 0 < (actual - expected).abs().max() < 0.1 * expected.std()
    with pytest.raises(ValueError, match="unknown precision 'fp16'"):
        Predictor(network, precision="fp16", device="cpu")


@pytest.mark.slow
def test_a_compiled_predictor_has_the_maps_of_an_eager_one(network):
    (image,) = make_images((INPUT_SIZE, INPUT_SIZE))
    eager = predict_maps(Predictor(network, input_size=INPUT_SIZE, device="cpu"), image)
    network = copy.deepcopy(network)
    compiled = predict_maps(
        Predictor(network, input_size=INPUT_SIZE, device="cpu", compiled=True), image
    )
    for actual, expected in zip(compiled, eager, strict=True):
        assert (actual - expected).abs().max() < 1e-3 * expected.std()


def test_sizes_of_fractional_scales_are_not_rounded_down(network):
    predictor = Predictor(network, input_size=320, scales=(1, 0.2), device="cpu")
    (image,) = make_images((320, 320))
    scaled = resize_to_scales(image, 320, predictor.scales).images
    assert [pixels.shape[-1] for pixels in scaled] == [320, 64]


@pytest.mark.parametrize("scales", [(2, 0.5), (1, 0.75), (1, -1), (1, 0)])
def test_incompatible_scales_are_an_error(network, scales):
    with pytest.raises(ValueError, match="must contain 1 and only multiples"):
        Predictor(network, scales=scales, device="cpu")


def test_fusion_by_size_maps_all_scales_to_the_same_image_pixels(network):
    predictor = Predictor(
        network, input_size=INPUT_SIZE, scales=(1, 2), fuse_by_size=True, device="cpu"
    )
    encoder = HeatmapEncoder(BODY.part_index, subpixel=True)
    decoder = build_decoder(BODY, subpixel=True)
    ground_truth = torch.rand(1, 1, BODY.size, 3, generator=torch.Generator().manual_seed(0))
    ground_truth = torch.cat(
        [8 + 20 * ground_truth[..., :2], 2 * torch.ones(1, 1, BODY.size, 1)], -1
    )
    # outputs for the same person at both scales: at scale 2 the maps are twice as large
    outputs = []
    for scale in (1, 2):
        keypoints = torch.cat([scale * ground_truth[..., :2], ground_truth[..., 2:]], -1)
        mask = torch.ones(1, scale * INPUT_SIZE // 4, scale * INPUT_SIZE // 4)
        heatmaps = encoder(keypoints, mask).heatmaps
        outputs.append(KeypointMaps(heatmaps, torch.zeros_like(heatmaps)[:, None]))
    predictor.decoder = decoder
    predictor._runner = SimpleNamespace(forward_scales=lambda images: outputs, flip_test=True)
    batch = default_collate(
        [
            resize_to_scales(
                np.zeros((2 * INPUT_SIZE, 2 * INPUT_SIZE, 3), np.uint8), INPUT_SIZE, (1, 2)
            )
        ]
    )
    (fused,) = predictor.predict_batch(batch)
    predictor._runner.forward_scales = lambda images: outputs[:1]
    predictor.fuse_by_size = False
    (single,) = predictor.predict_batch(batch)
    assert len(fused.scores) == len(single.scores) == 1
    # the image has twice as many pixels as the input at scale 1
    expected = 2 * ground_truth[0, 0, :, :2]
    for poses in (fused, single):
        np.testing.assert_allclose(poses.keypoints[0, :, :2], expected, atol=0.1)
