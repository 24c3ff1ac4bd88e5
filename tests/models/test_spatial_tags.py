"""Spatial tags: predicted centers of people as further tags, from training to decoding."""

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from tagpose.codec.decoder import build_decoder
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.spatial_tags import append_spatial_tags, compute_center_offsets
from tagpose.codec.tta import flip_maps, merge_flip, merge_scales
from tagpose.inference.batch_decoding import decode_batch, flipped_outputs
from tagpose.losses import AssociativeEmbeddingLoss
from tagpose.models.checkpoint import load_network, write_checkpoint, write_mmpose_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import transfer_weights
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.structures import STRIDE, KeypointMaps
from tagpose.training.module import BottomUpPoseModule
from tagpose.training.optimization import WarmupMultiStep
from tagpose.training.resume_checkpoint import check_resumable

SMALL, HIGHER = "hrnet_w18_small", "higherhrnet_w18_small"
WEIGHT = 4.0
SIZE = (24, 32)  # heatmap pixels
IDENTITY = torch.eye(2, 3, dtype=torch.float64)[None]
architectures = pytest.mark.parametrize("architecture", [SMALL, HIGHER])


def make_network(architecture=SMALL, skeleton=BODY, spatial_tags=WEIGHT, **options):
    torch.manual_seed(0)
    return PoseNetwork(architecture, skeleton, spatial_tags=spatial_tags, **options).eval()


def random_images(*size):
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)


def random_maps(seed):
    """Return smooth maps of BODY with a few peaks each and one tag map, and offsets."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, BODY.size + 3, 8, 10, generator=generator)
    smooth = interpolate(noise, SIZE, mode="bicubic")
    heatmaps, tags, offsets = smooth.tensor_split([BODY.size, BODY.size + 1], 1)
    return KeypointMaps(heatmaps.contiguous() - 0.3, 2 * tags[:, None]), 20 * (offsets - 0.5)


def random_people():
    """Return the keypoints [1, P, K, 3] of two people, one in each half of the image."""
    generator = torch.Generator().manual_seed(0)
    people = torch.full((1, 2, BODY.size, 3), 2.0)
    people[..., :2] = 8 + 48 * torch.rand(people[..., :2].shape, generator=generator)
    people[:, 1, :, 0] += STRIDE * SIZE[1] / 2
    return people


def flip_people(people):
    """Return keypoints [..., K, 3] in the flipped image."""
    flipped = people[..., list(BODY.flip_indices), :].clone()
    flipped[..., 0] = STRIDE * SIZE[1] - 1 - flipped[..., 0]
    return flipped


def sort_by_x(keypoints):
    """Return the keypoints [P, K, 3] of people from left to right."""
    return torch.as_tensor(sorted(keypoints.tolist(), key=lambda person: person[0][0]))


def perfect_outputs(people):
    """Return targets as outputs: heatmaps, nearly equal learned tags, the centers of the halves."""
    heatmaps = HeatmapEncoder(subpixel=True)(people, torch.ones(1, *SIZE)).heatmaps
    rows, columns = (torch.arange(length) for length in SIZE)
    half = SIZE[1] // 2
    x = ((columns // half + 0.5) * half - 0.5 - columns).expand(SIZE)
    y = ((SIZE[0] - 1) / 2 - rows)[:, None].expand(SIZE)
    # as in MMPose, peaks with exactly the same first tag do not start two people
    learned = 1e-3 * torch.rand(1, 1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    return KeypointMaps(heatmaps, append_spatial_tags(learned, torch.stack([x, y])[None], WEIGHT))


def decode(keypoint_maps, flipped=None):
    decoder = build_decoder(BODY, subpixel=True, tag_index=BODY.tag_index("shared"))
    (poses,) = decode_batch(keypoint_maps, IDENTITY, decoder, flipped=flipped)
    return poses


@architectures
def test_without_offsets_the_spatial_tags_are_the_position_in_units_of_the_shorter_side(
    architecture,
):
    network = make_network(architecture, tag_sharing="part")
    with torch.no_grad():
        network.head.weight[-2:] = 0
    tags = network(random_images(64, 128)).tags
    assert tags.shape == (2, 3, 1, 16, 32)
    x = WEIGHT * (torch.arange(32) - 15.5) / 16
    y = WEIGHT * (torch.arange(16) - 7.5) / 16
    torch.testing.assert_close(tags[:, 1], x.expand_as(tags[:, 1]))
    torch.testing.assert_close(tags[:, 2], y[:, None].expand_as(tags[:, 2]))


def test_centers_are_those_of_the_boxes_around_visible_keypoints():
    pixels = torch.tensor([[[[10, 6], [16, 8], [70, 6], [0, 0]]]])
    visible = torch.tensor([[[True, True, False, False]]])
    offsets, extents = compute_center_offsets(pixels, visible)
    assert offsets.tolist() == [[[[3, 1], [-3, -1], [0, 0], [0, 0]]]]
    assert extents.tolist() == [[8]]  # the minimum
    pixels[0, 0, 1, 1] += 10
    assert compute_center_offsets(pixels, visible)[1].tolist() == [[12]]


def test_spatial_tags_do_not_depend_on_the_input_size():
    (maps, offsets), size = random_maps(0), (2 * SIZE[0], 2 * SIZE[1])
    small = append_spatial_tags(maps.tags, offsets, WEIGHT)
    tags, offsets = (interpolate(m, size, mode="nearest") for m in (maps.tags[0], 2 * offsets))
    large = append_spatial_tags(tags[None], offsets, WEIGHT)
    # the center of a heatmap pixel is the center of four pixels of the larger map
    torch.testing.assert_close(avg_pool2d(large[0], 2), small[0])


def test_spatial_tags_of_several_scales_agree():
    zeros = [torch.zeros(1, 2, factor * SIZE[0], factor * SIZE[1]) for factor in (1, 2)]
    tags = [append_spatial_tags(z[:, None, :1], z, WEIGHT) for z in zeros]
    views = [KeypointMaps(t[:, 0], t) for t in tags]
    merged = merge_scales(views, 0, (4 * SIZE[0], 4 * SIZE[1]), multi_scale_tags=True)
    first, second = merged.tags.chunk(2, 1)
    torch.testing.assert_close(second, first)


def test_flipping_the_image_negates_x_and_keeps_y():
    maps, offsets = random_maps(0)
    tags = append_spatial_tags(maps.tags, offsets, WEIGHT)
    sign = torch.tensor([-1.0, 1.0])[:, None, None]
    flipped = append_spatial_tags(maps.tags.flip(-1), (sign * offsets).flip(-1), WEIGHT)
    assert torch.equal(flipped[:, 1:].flip(-1), sign[:, None] * tags[:, 1:])


def test_flipping_an_image_flips_the_poses_with_the_flip_test():
    people, indices = random_people(), BODY.channel_flip_indices("shared")
    outputs, flipped = perfect_outputs(people), perfect_outputs(flip_people(people))
    poses = decode(outputs, flipped_outputs(flipped, indices))
    flipped_poses = decode(flipped, flipped_outputs(outputs, indices))
    expected = flip_people(torch.from_numpy(flipped_poses.keypoints))
    assert len(expected) == 2
    np.testing.assert_allclose(sort_by_x(poses.keypoints), sort_by_x(expected), atol=1e-3)
    merged = decode(merge_flip(outputs, flipped, indices))
    np.testing.assert_allclose(merged.keypoints, poses.keypoints, atol=1e-3)


def test_flipping_maps_twice_restores_spatial_tags():
    maps, offsets = random_maps(0)
    maps = maps._replace(tags=append_spatial_tags(maps.tags, offsets, WEIGHT))
    indices = BODY.channel_flip_indices("shared")
    assert torch.equal(flip_maps(flip_maps(maps, indices), indices).tags, maps.tags)


def test_perfect_spatial_tags_separate_people_with_the_same_learned_tag():
    people = random_people()
    heatmaps, tags = perfect_outputs(people)
    errors = [
        sort_by_x(decode(KeypointMaps(heatmaps, views)).keypoints)[..., :2] - people[0, ..., :2]
        for views in (tags[:, :1], tags)
    ]
    mixed, separated = (error.abs().max() for error in errors)
    assert mixed > 32
    assert separated < 0.1


@architectures
def test_only_the_offsets_receive_gradients_of_the_spatial_loss(architecture):
    network = make_network(architecture)
    resolutions = network.forward_resolutions(random_images(64, 96))
    people = torch.rand(2, 3, BODY.size, 3, generator=torch.Generator().manual_seed(0)) * 64
    masks = torch.ones(2, 16, 24)
    targets = [HeatmapEncoder(stride=stride)(people, masks) for stride in network.strides]
    terms = AssociativeEmbeddingLoss()(resolutions, targets)
    for name, term in terms._asdict().items():
        (gradient,) = torch.autograd.grad(term.sum(), network.head.weight, retain_graph=True)
        has_gradient = gradient.flatten(1).any(1)
        assert has_gradient[-2:].all() == (name == "spatial")
        assert has_gradient[:-2].any() == (name != "spatial")


@architectures
def test_checkpoints_keep_spatial_tags(tmp_path, architecture):
    network = make_network(architecture)
    write_checkpoint(tmp_path / "x.ckpt", network)
    loaded, images = load_network(tmp_path / "x.ckpt"), random_images(64, 96)
    assert loaded.spec == network.spec
    for actual, expected in zip(loaded(images), network(images), strict=True):
        assert torch.equal(actual, expected)


@architectures
@pytest.mark.parametrize("source_weight", [0.0, 1.0])
@pytest.mark.parametrize("weight", [0.0, WEIGHT])
def test_stage_two_has_the_offsets_of_stage_one_if_both_predict_them(
    tmp_path, architecture, source_weight, weight
):
    source = make_network(architecture, spatial_tags=source_weight)
    write_checkpoint(tmp_path / "body.ckpt", source)
    network = make_network(architecture, WHOLEBODY, weight)
    before = network.head.weight.detach().clone()
    transfer_weights(network, tmp_path / "body.ckpt")
    tags = slice(WHOLEBODY.size, WHOLEBODY.size + BODY.size)
    source_tags = slice(BODY.size, 2 * BODY.size)
    assert torch.equal(network.head.weight[tags], source.head.weight[source_tags])
    if weight:
        expected = source.head.weight if source_weight else before
        assert torch.equal(network.head.weight[-2:], expected[-2:])


@architectures
def test_spatial_tags_can_be_added_to_a_network_of_mmpose(tmp_path, architecture):
    source = make_network(architecture, spatial_tags=0)
    write_mmpose_checkpoint(tmp_path / "x.pth", source)
    network, images = make_network(architecture), random_images(64, 96)
    transfer_weights(network, tmp_path / "x.pth")
    heatmaps, tags = network(images)
    torch.testing.assert_close(heatmaps, source(images).heatmaps)
    torch.testing.assert_close(tags[:, :1], source(images).tags)


def test_the_format_of_mmpose_cannot_store_spatial_tags(tmp_path):
    with pytest.raises(ValueError, match=r"spatial_tags=4\.0, which the format of MMPose cannot"):
        write_mmpose_checkpoint(tmp_path / "x.pth", make_network())
    assert not list(tmp_path.iterdir())


def test_a_run_cannot_be_resumed_with_another_weight_of_spatial_tags(tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", make_network())
    with pytest.raises(ValueError, match=r"spatial_tags=4\.0, but the model has spatial_tags=0"):
        check_resumable(make_network(spatial_tags=0), tmp_path / "x.ckpt")


def test_spatial_tags_without_a_loss_are_an_error():
    criterion = AssociativeEmbeddingLoss(spatial_weight=0)
    with pytest.raises(ValueError, match=r"criterion\.spatial_weight, which is 0; set criterion"):
        BottomUpPoseModule(make_network(), criterion, torch.optim.Adam, WarmupMultiStep())


def test_a_negative_weight_of_spatial_tags_is_an_error():
    with pytest.raises(ValueError, match="spatial_tags must be 0 or more, got -1"):
        make_network(spatial_tags=-1)
