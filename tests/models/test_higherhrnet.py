"""HigherHRNet: targets, losses, merging and checkpoints at two resolutions."""

import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import merge_resolutions
from tagpose.losses import AssociativeEmbeddingLoss, heatmap_loss
from tagpose.models.checkpoint import load_network, write_checkpoint, write_mmpose_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import transfer_weights
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.structures import STRIDE, MultiResolutionMaps
from tagpose.training.resume_checkpoint import check_resumable

PLAIN, HIGHER = "hrnet_w18_small", "higherhrnet_w18_small"
MAP_SIZE = 16


@pytest.fixture(scope="module")
def body():
    """Return a network whose second head depends on the first outputs as in a trained network."""
    torch.manual_seed(0)
    return enlarge_head_weights(PoseNetwork(HIGHER, BODY).eval())


def enlarge_head_weights(network):
    for name in network.keypoint_channels:
        torch.nn.init.normal_(network.get_parameter(name), std=0.1)
    return network


def random_image():
    return torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)


def all_equal(tensors, expected):
    return all(torch.equal(*pair) for pair in zip(tensors, expected, strict=True))


def make_people(*positions, count=3):
    """Return keypoints [1, P, K, 3] in input pixels, all `count` of a person at one position."""
    keypoints = torch.zeros(1, len(positions), count, 3)
    for person, (x, y) in enumerate(positions):
        keypoints[0, person] = torch.tensor([x, y, 2.0])
    return keypoints


def encode(keypoints, mask=None):
    """Generate the targets at both strides."""
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE) if mask is None else mask
    return [HeatmapEncoder(stride=stride)(keypoints, mask) for stride in (STRIDE, STRIDE // 2)]


def test_heatmaps_have_strides_4_and_2_and_tags_stride_4(body):
    resolutions = body.forward_resolutions(torch.zeros(2, 3, 64, 128, dtype=torch.uint8))
    assert body.strides == (4, 2)
    shapes = [heatmaps.shape for heatmaps in resolutions.heatmaps]
    assert shapes == [(2, BODY.size, 16, 32), (2, BODY.size, 32, 64)]
    assert resolutions.tags.shape == (2, 1, BODY.size, 16, 32)


def test_merged_heatmaps_are_the_mean_of_both_resolutions():
    tags = torch.zeros(1, 1, 1, 8, 8)
    # heatmaps whose values are the input coordinates of the centers of heatmap pixels
    coarse, fine = (((torch.arange(n) + 0.5) * 32 / n).expand(1, 1, n, n) for n in (8, 16))
    keypoint_maps = merge_resolutions(MultiResolutionMaps((coarse, fine + 2), tags))
    torch.testing.assert_close(keypoint_maps.heatmaps[..., 1:-1], fine[..., 1:-1] + 1)
    assert keypoint_maps.tags is tags


def test_a_single_resolution_is_not_changed_by_merging():
    resolutions = PoseNetwork(PLAIN, BODY).eval().forward_resolutions(random_image())
    keypoint_maps = merge_resolutions(resolutions)
    assert keypoint_maps.heatmaps is resolutions.heatmaps[0]
    assert keypoint_maps.tags is resolutions.tags


def test_the_second_head_does_not_change_the_initial_weights_of_other_layers():
    networks = []
    for architecture in (PLAIN, HIGHER):
        torch.manual_seed(0)
        networks.append(PoseNetwork(architecture, BODY))
    plain, higher = (network.state_dict() for network in networks)
    assert all(torch.equal(tensor, higher[name]) for name, tensor in plain.items())


def test_targets_are_1_at_the_heatmap_pixel_of_the_keypoint_at_both_strides():
    coarse, fine = encode(make_people((22.5, 37.0)))
    assert coarse.heatmaps[0, 0, 9, 5] == fine.heatmaps[0, 0, 18, 11] == 1
    assert fine.heatmaps.shape == (1, 3, 2 * MAP_SIZE, 2 * MAP_SIZE)
    # sigma is the same in heatmap pixels, and therefore half as large in input pixels
    torch.testing.assert_close(coarse.heatmaps[0, 0, 9, 7], fine.heatmaps[0, 0, 18, 13])


@pytest.mark.parametrize("subpixel", [False, True])
def test_targets_at_stride_2_equal_those_of_an_image_of_twice_the_size(subpixel):
    torch.manual_seed(0)
    keypoints = torch.cat([64 * torch.rand(1, 2, 3, 2), torch.ones(1, 2, 3, 1)], -1)
    unlabeled = torch.tensor([20.0, 20, 50, 40]).expand(1, 2, 1, 4)
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE)
    fine = HeatmapEncoder((0, 0, 0), subpixel, stride=STRIDE // 2, ignore_unlabeled=True)
    coarse = HeatmapEncoder((0, 0, 0), subpixel, ignore_unlabeled=True)
    # the center of pixel i is at 2 i + 0.5 in an image of twice the size
    shift = 0.5 if subpixel else 0.0
    larger = keypoints.clone()
    larger[..., :2] = 2 * keypoints[..., :2] + shift
    larger_mask = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)
    targets = fine(keypoints, mask, unlabeled)
    expected = coarse(larger, larger_mask, 2 * unlabeled + 0.5)
    for a, b in zip(targets, expected, strict=True):
        torch.testing.assert_close(a.float(), b.float(), atol=1e-4, rtol=0)


def test_only_masked_pixels_have_no_gradient_at_both_resolutions():
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE)
    mask[:, :5, :7] = 0
    maps = tuple(
        torch.full((1, 3, n, n), 0.3, requires_grad=True) for n in (MAP_SIZE, 2 * MAP_SIZE)
    )
    outputs = MultiResolutionMaps(maps, torch.zeros(1, 1, 3, MAP_SIZE, MAP_SIZE))
    targets = encode(make_people((8, 8), (50, 50)), mask)
    AssociativeEmbeddingLoss()(outputs, targets).heatmap.backward()
    for ratio, heatmaps in enumerate(maps, start=1):
        counted = torch.ones(ratio * MAP_SIZE, ratio * MAP_SIZE)
        counted[: 5 * ratio, : 7 * ratio] = 0
        assert torch.equal((heatmaps.grad[0, 0] != 0).float(), counted)


def test_the_heatmap_loss_is_a_sum_and_tags_are_read_at_the_first_resolution():
    targets = encode(make_people((8, 8), (50, 50)))
    maps = tuple(torch.randn(1, 3, n, n) for n in (MAP_SIZE, 2 * MAP_SIZE))
    tags = torch.randn(1, 1, 3, MAP_SIZE, MAP_SIZE)
    both = AssociativeEmbeddingLoss()(MultiResolutionMaps(maps, tags), targets)
    first = AssociativeEmbeddingLoss()(MultiResolutionMaps(maps[:1], tags), targets[:1])
    torch.testing.assert_close(both.heatmap, first.heatmap + heatmap_loss(maps[1], targets[1]))
    assert all_equal(both[1:], first[1:])


@pytest.mark.parametrize("suffix", ["ckpt", "pth", "safetensors"])
def test_a_loaded_checkpoint_is_the_same_network(body, tmp_path, suffix):
    file = tmp_path / f"x.{suffix}"
    (write_checkpoint if suffix == "ckpt" else write_mmpose_checkpoint)(file, body)
    loaded, image = load_network(file), random_image()
    assert loaded.spec == body.spec
    assert all_equal(loaded(image), body(image))


def select_channels(network, name, count):
    """Return the channels of a tensor for the first keypoints and for features."""
    tensor, size = network.state_dict()[name], network.skeleton.size
    if name.startswith("higher_head.head"):
        return tensor[:count]
    first = len(tensor) - 2 * size
    assert first == (network.head.in_channels if "layers" in name else 0)
    return torch.cat([tensor[: first + count], tensor[first + size : first + size + count]])


@pytest.mark.parametrize(("source", "target"), [(BODY, WHOLEBODY), (WHOLEBODY, BODY)])
def test_transfer_loads_shared_keypoints_and_all_other_tensors(tmp_path, source, target):
    source_network, network = (
        enlarge_head_weights(PoseNetwork(HIGHER, skeleton)) for skeleton in (source, target)
    )
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    write_checkpoint(tmp_path / "source.ckpt", source_network)
    report = transfer_weights(network, tmp_path / "source.ckpt")
    assert report.loaded_keypoints == BODY.keypoints  # the first keypoints of both skeletons
    for name, tensor in network.state_dict().items():
        if name not in network.keypoint_channels:
            assert torch.equal(tensor, source_network.state_dict()[name]), name
            continue
        shared = [select_channels(net, name, BODY.size) for net in (network, source_network)]
        assert torch.equal(*shared), name
        assert torch.equal(tensor[-1], before[name][-1]) is (target is WHOLEBODY), name
    assert len(before) == report.loaded_tensors + len(network.keypoint_channels)


def test_stage_two_predicts_shared_keypoints_like_stage_one(body, tmp_path):
    write_checkpoint(tmp_path / "one.ckpt", body)
    network = PoseNetwork(HIGHER, WHOLEBODY).eval()
    transfer_weights(network, tmp_path / "one.ckpt")
    image = random_image()
    before, after = body(image), network(image)
    torch.testing.assert_close(after.tags[:, :, : BODY.size], before.tags)
    # the second head also depends on the first outputs for new keypoints, which are almost 0
    difference = (after.heatmaps[:, : BODY.size] - before.heatmaps).abs().max()
    assert difference < 1e-3 * before.heatmaps.std()


def test_transfer_skips_or_initializes_a_head_that_only_one_network_has(body, tmp_path):
    write_checkpoint(tmp_path / "higher.ckpt", body)
    plain = PoseNetwork(PLAIN, BODY).eval()
    report = transfer_weights(plain, tmp_path / "higher.ckpt")
    assert "the HigherHRNet head of the file was skipped" in str(report)
    image = random_image()
    outputs = body.forward_resolutions(image)
    assert all_equal(plain(image), (outputs.heatmaps[0], outputs.tags))
    write_checkpoint(tmp_path / "plain.ckpt", plain)
    higher = PoseNetwork(HIGHER, BODY).eval()
    initial = higher.higher_head.head.weight.clone()
    report = transfer_weights(higher, tmp_path / "plain.ckpt")
    assert "so is the HigherHRNet head" in str(report)
    assert torch.equal(higher.higher_head.head.weight, initial)
    assert torch.equal(higher.forward_resolutions(image).heatmaps[0], outputs.heatmaps[0])


def test_a_run_cannot_be_resumed_with_another_head(body, tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", body)
    with pytest.raises(ValueError, match=f"contains {HIGHER} .* the model is {PLAIN} "):
        check_resumable(PoseNetwork(PLAIN, BODY), tmp_path / "x.ckpt")


def test_a_run_cannot_be_resumed_with_other_subpixel_targets(body, tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", body)
    with pytest.raises(ValueError, match="subpixel=False, but the model has subpixel=True"):
        check_resumable(PoseNetwork(HIGHER, BODY, subpixel=True), tmp_path / "x.ckpt")


def test_an_incomplete_second_head_is_an_error(body, tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", body)
    content = torch.load(tmp_path / "x.ckpt")
    content["state_dict"].pop("network.higher_head.layers.1.0.conv1.weight")
    torch.save(content, tmp_path / "x.ckpt")
    for read in (load_network, lambda file: transfer_weights(PoseNetwork(HIGHER, WHOLEBODY), file)):
        with pytest.raises(ValueError, match="lacks 1 tensors"):
            read(tmp_path / "x.ckpt")


def test_training_steps_reduce_the_heatmap_loss_at_both_resolutions():
    torch.manual_seed(0)
    network = PoseNetwork(HIGHER, BODY, tag_init_std=0.1)
    targets = encode(make_people((20, 20), (44, 40), count=BODY.size))
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[..., 16:24, 16:24], image[..., 36:44, 40:48] = 255, 128
    criterion = AssociativeEmbeddingLoss(foreground_weight=30)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    history = []
    for _ in range(30):
        resolutions = network.forward_resolutions(image)
        pairs = zip(resolutions.heatmaps, targets, strict=True)
        history.append([heatmap_loss(*pair).item() for pair in pairs])
        optimizer.zero_grad()
        criterion.total(criterion(resolutions, targets)).backward()
        optimizer.step()
    for first, last in zip(history[0], history[-1], strict=True):
        assert last < first / 3
