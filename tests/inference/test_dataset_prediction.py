"""From images to people: in batches, at several scales, flipped, every image on its own terms."""

import copy

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from tagpose.codec.decoder import build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import flip_maps
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.preprocessing import resize_to_scales
from tagpose.inference.dataset_prediction import predict_dataset
from tagpose.inference.predictor import Predictor
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.structures import KeypointMaps

SIDE = 64


@pytest.fixture(scope="module", params=["hrnet_w18_small", "higherhrnet_w18_small"])
def network(request):
    """A network whose fields are those of somebody: any one will do for laws."""
    torch.manual_seed(3)
    network = PoseNetwork(request.param, BODY, tag_init_std=0.5).eval()
    torch.nn.init.normal_(network.head.weight[: BODY.size], std=0.05)
    if network.higher_head:
        torch.nn.init.normal_(network.higher_head.head.weight, std=0.05)
    return network


def images(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]


def keypoint_maps_of(predictor, *images):
    views = [resize_to_scales(image, predictor.input_size, predictor.scales) for image in images]
    return predictor.predict_maps(default_collate(views).images)


@pytest.mark.parametrize(
    "scales", [(1,), (2, 1, 0.5), pytest.param((1, 0.5), marks=pytest.mark.slow)]
)
def test_a_batch_has_the_fields_of_its_images_one_by_one(network, scales):
    predictor = Predictor(network, input_size=SIDE * 2, scales=scales, device="cpu")
    some = images(*3 * [(90, 130)])
    together = keypoint_maps_of(predictor, *some)
    for number, image in enumerate(some):
        for all_of_them, alone in zip(together, keypoint_maps_of(predictor, image), strict=True):
            torch.testing.assert_close(all_of_them[number], alone[0], atol=1e-3, rtol=1e-3)


def test_the_fields_of_a_flipped_image_are_the_flipped_fields(network):
    predictor = Predictor(network, input_size=SIDE, device="cpu")
    (image,) = images((SIDE, 2 * SIDE))
    keypoint_maps, flipped = (keypoint_maps_of(predictor, one) for one in (image, image[:, ::-1]))
    back = flip_maps(flipped, BODY.channel_flip_indices())
    torch.testing.assert_close(back.heatmaps, keypoint_maps.heatmaps)
    torch.testing.assert_close(
        back.tags.flip(1), keypoint_maps.tags
    )  # who looked first says nothing


def test_people_are_in_the_order_of_the_images_whatever_their_sizes(network):
    predictor = Predictor(network, input_size=SIDE, device="cpu")
    some = images((60, 90), (90, 60), (61, 91), (64, 64))
    for people, image in zip(predictor(some), some, strict=True):
        alone = predictor([image])[0]
        assert len(people.scores) == len(alone.scores)
        assert people.scores == pytest.approx(alone.scores, abs=1e-4)


def test_an_image_and_its_double_have_the_same_people_twice_as_large(network):
    predictor = Predictor(network, input_size=SIDE, device="cpu")
    (image,) = images((SIDE, SIDE))
    large = predictor([image.repeat(2, 0).repeat(2, 1)])[0]
    # the affine maps whole pixels on whole pixels, so the double is halved by taking every second
    small = predictor([image])[0]
    assert large.keypoints[..., :2] == pytest.approx(2 * small.keypoints[..., :2], abs=1e-2)


def test_every_image_of_a_data_set_is_looked_at_once_at_every_scale(network, people):
    split = ("annotations/person_keypoints_val2017.json", "val2017")
    data = PoseDataModule(people, BODY, split, split, SIDE, 4, 4, num_workers=0, transforms={})
    data.setup("validate")
    annotations = data.annotations[data.val_split]
    predictor = Predictor(network, input_size=SIDE * 2, scales=(2, 1, 0.5), device="cpu")
    loader = data.test_time_dataloader(predictor.input_size, predictor.scales)
    found = predict_dataset(predictor, loader)
    assert sorted(found) == sorted(annotations.record(i).image_id for i in range(len(annotations)))


def test_in_bf16_the_fields_differ_by_its_rounding_and_keep_their_digits(network):
    (image,) = images((SIDE, SIDE))
    exact, rough = (
        keypoint_maps_of(Predictor(network, input_size=SIDE, device="cpu", precision=one), image)
        for one in ("float32", "bf16")
    )
    for mine, whole in zip(rough, exact, strict=True):
        assert mine.dtype == torch.float32
        assert 0 < (mine - whole).abs().max() < 0.1 * whole.std()
    with pytest.raises(ValueError, match="'fp16' is neither float32 nor bf16"):
        Predictor(network, precision="fp16", device="cpu")


@pytest.mark.slow
def test_a_compiled_predictor_has_the_fields_of_a_plain_one(network):
    (image,) = images((SIDE, SIDE))
    plain = keypoint_maps_of(Predictor(network, input_size=SIDE, device="cpu"), image)
    again = copy.deepcopy(network)
    compiled = keypoint_maps_of(
        Predictor(again, input_size=SIDE, device="cpu", compiled=True), image
    )
    for mine, other in zip(compiled, plain, strict=True):
        assert (mine - other).abs().max() < 1e-3 * other.std()


def test_multiples_are_not_lost_to_rounding(network):
    predictor = Predictor(network, input_size=320, scales=(1, 0.2), device="cpu")
    (image,) = images((320, 320))
    assert [one.shape[-1] for one in resize_to_scales(image, 320, predictor.scales).images] == [
        320,
        64,
    ]


@pytest.mark.parametrize("scales", [(2, 0.5), (1, 0.75), (1, -1), (1, 0)])
def test_scales_that_do_not_fit_together_are_refused(network, scales):
    with pytest.raises(ValueError, match=r"1 must be among them, and all be multiples"):
        Predictor(network, scales=scales, device="cpu")


def test_by_size_people_of_a_larger_scale_are_the_same_in_the_image(network):
    predictor = Predictor(network, input_size=SIDE, scales=(1, 2), fuse_by_size=True, device="cpu")
    encoder = HeatmapEncoder(BODY.part_index, subpixel=True)
    decoder = build_decoder(BODY, subpixel=True)
    ground_truth = torch.rand(1, 1, BODY.size, 3, generator=torch.Generator().manual_seed(0))
    ground_truth = torch.cat(
        [8 + 20 * ground_truth[..., :2], 2 * torch.ones(1, 1, BODY.size, 1)], -1
    )
    # a person of the image, as both scales would show it: in twice as many cells at scale 2
    seen = []
    for scale in (1, 2):
        shown = torch.cat([scale * ground_truth[..., :2], ground_truth[..., 2:]], -1)
        mask = torch.ones(1, scale * SIDE // 4, scale * SIDE // 4)
        heatmaps = encoder(shown, mask).heatmaps
        seen.append(KeypointMaps(heatmaps, torch.zeros_like(heatmaps)[:, None]))
    predictor.decoder = decoder
    predictor._forward_scales = lambda images: seen
    views = default_collate(
        [resize_to_scales(np.zeros((2 * SIDE, 2 * SIDE, 3), np.uint8), SIDE, (1, 2))]
    )
    (people,) = predictor.predict_batch(views)
    predictor.fuse_by_size, predictor._forward_scales = False, lambda images: seen[:1]
    (alone,) = predictor.predict_batch(views)
    assert len(people.scores) == len(alone.scores) == 1
    # twice as many image pixels as input pixels, whichever scale saw them
    for one in (people, alone):
        np.testing.assert_allclose(one.keypoints[0, :, :2], 2 * ground_truth[0, 0, :, :2], atol=0.1)
