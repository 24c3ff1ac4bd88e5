"""HigherHRNet: a second, finer map is learned and counts; all else is as with the first alone."""

import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import merge_resolutions
from tagpose.losses import AssociativeEmbeddingLoss, heatmap_loss
from tagpose.models.checkpoint import write_checkpoint, write_mmpose_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import check_resumable, load_network, transfer_weights
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.structures import STRIDE, MultiResolutionMaps

PLAIN, HIGHER = "hrnet_w18_small", "higherhrnet_w18_small"
MAP_SIZE = 16


@pytest.fixture(scope="module")
def body():
    """A network whose first outputs count in the finer ones as those of a trained one do."""
    torch.manual_seed(0)
    return wide_awake(PoseNetwork(HIGHER, BODY).eval())


def wide_awake(network):
    for name in network.keypoint_channels:
        torch.nn.init.normal_(network.get_parameter(name), std=0.1)
    return network


def images(count=1):
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8)


def equal(one, other):
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def people(*places, kinds=3):
    """Keypoints [1, P, K, 3] in input pixels, all of a person at one place."""
    keypoints = torch.zeros(1, len(places), kinds, 3)
    for number, (x, y) in enumerate(places):
        keypoints[0, number] = torch.tensor([x, y, 2.0])
    return keypoints


def targets(keypoints, mask=None):
    """The targets at both strides."""
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE) if mask is None else mask
    return [HeatmapEncoder(stride=stride)(keypoints, mask) for stride in (STRIDE, STRIDE // 2)]


def test_both_maps_cover_the_input_and_tags_are_of_the_coarser_cells(body):
    resolutions = body.forward_resolutions(torch.zeros(2, 3, 64, 128, dtype=torch.uint8))
    assert body.strides == (4, 2)
    assert [heatmaps.shape for heatmaps in resolutions.heatmaps] == [
        (2, BODY.size, 16, 32),
        (2, BODY.size, 32, 64),
    ]
    assert resolutions.tags.shape == (2, 1, BODY.size, 16, 32)


def test_at_test_both_maps_count_alike_where_they_lie_on_each_other():
    tags = torch.zeros(1, 1, 1, 8, 8)
    # where in the input a cell has its middle, which both maps say of one place
    coarse, fine = (((torch.arange(n) + 0.5) * 32 / n).expand(1, 1, n, n) for n in (8, 16))
    keypoint_maps = merge_resolutions(MultiResolutionMaps((coarse, fine + 2), tags))
    torch.testing.assert_close(keypoint_maps.heatmaps[..., 1:-1], fine[..., 1:-1] + 1)
    assert keypoint_maps.tags is tags


def test_without_a_finer_map_nothing_is_merged():
    resolutions = PoseNetwork(PLAIN, BODY).eval().forward_resolutions(images())
    keypoint_maps = merge_resolutions(resolutions)
    assert keypoint_maps.heatmaps is resolutions.heatmaps[0]
    assert keypoint_maps.tags is resolutions.tags


def test_the_plain_network_starts_with_the_weights_that_it_has_within_the_finer_one():
    networks = []
    for architecture in (PLAIN, HIGHER):
        torch.manual_seed(0)
        networks.append(PoseNetwork(architecture, BODY))
    plain, finer = (network.state_dict() for network in networks)
    assert all(torch.equal(tensor, finer[name]) for name, tensor in plain.items())


def test_a_peak_stands_in_the_cell_of_its_keypoint_at_either_stride():
    coarse, fine = targets(people((22.5, 37.0)))
    assert coarse.heatmaps[0, 0, 9, 5] == fine.heatmaps[0, 0, 18, 11] == 1
    assert fine.heatmaps.shape == (1, 3, 2 * MAP_SIZE, 2 * MAP_SIZE)
    # as wide in cells, so half as wide in input pixels
    torch.testing.assert_close(coarse.heatmaps[0, 0, 9, 7], fine.heatmaps[0, 0, 18, 13])


@pytest.mark.parametrize("subpixel", [False, True])
def test_at_another_stride_everything_is_drawn_as_of_a_picture_of_another_size(subpixel):
    torch.manual_seed(0)
    keypoints = torch.cat([64 * torch.rand(1, 2, 3, 2), torch.ones(1, 2, 3, 1)], -1)
    unlabelled = torch.tensor([20.0, 20, 50, 40]).expand(1, 2, 1, 4)
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE)
    fine = HeatmapEncoder((0, 0, 0), subpixel, stride=STRIDE // 2, ignore_unlabelled=True)
    coarse = HeatmapEncoder((0, 0, 0), subpixel, ignore_unlabelled=True)
    # pixel i of a picture of twice the size has its middle where 2 i + 1/2 of it is
    shift = 0.5 if subpixel else 0.0
    larger = keypoints.clone()
    larger[..., :2] = 2 * keypoints[..., :2] + shift
    double = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)
    one = fine(keypoints, mask, unlabelled)
    other = coarse(larger, double, 2 * unlabelled + 0.5)
    for mine, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(mine.float(), theirs.float(), atol=1e-4, rtol=0)


def test_masked_cells_teach_nothing_at_either_resolution_and_others_do():
    mask = torch.ones(1, MAP_SIZE, MAP_SIZE)
    mask[:, :5, :7] = 0
    maps = tuple(
        torch.full((1, 3, n, n), 0.3, requires_grad=True) for n in (MAP_SIZE, 2 * MAP_SIZE)
    )
    tags = torch.zeros(1, 1, 3, MAP_SIZE, MAP_SIZE)
    AssociativeEmbeddingLoss()(
        MultiResolutionMaps(maps, tags), targets(people((8, 8), (50, 50)), mask)
    ).heatmap.backward()
    for ratio, heatmaps in enumerate(maps, start=1):
        counted = torch.ones(ratio * MAP_SIZE, ratio * MAP_SIZE)
        counted[: 5 * ratio, : 7 * ratio] = 0
        assert torch.equal((heatmaps.grad[0, 0] != 0).float(), counted)


def test_the_heatmaps_loss_is_the_sum_of_both_and_tags_are_read_at_the_coarser():
    goals = targets(people((8, 8), (50, 50)))
    maps = tuple(torch.randn(1, 3, n, n) for n in (MAP_SIZE, 2 * MAP_SIZE))
    tags = torch.randn(1, 1, 3, MAP_SIZE, MAP_SIZE)
    both = AssociativeEmbeddingLoss()(MultiResolutionMaps(maps, tags), goals)
    coarse = AssociativeEmbeddingLoss()(MultiResolutionMaps(maps[:1], tags), goals[:1])
    torch.testing.assert_close(both.heatmap, coarse.heatmap + heatmap_loss(maps[1], goals[1]))
    assert equal(both[1:], coarse[1:])


@pytest.mark.parametrize("ending", ["ckpt", "pth", "safetensors"])
def test_a_file_comes_back_as_the_same_network(body, tmp_path, ending):
    file = tmp_path / f"x.{ending}"
    (write_checkpoint if ending == "ckpt" else write_mmpose_checkpoint)(file, body)
    back, image = load_network(file), images()
    assert back.spec == body.spec
    assert equal(back(image), body(image))


def keypoint_rows(network, name, count):
    """The rows of a tensor that are for the first keypoints or for none, spelt out."""
    tensor, size = network.state_dict()[name], network.skeleton.size
    if name.startswith("higher_head.head"):
        return tensor[:count]
    first = len(tensor) - 2 * size
    assert first == (network.head.in_channels if "layers" in name else 0)
    return torch.cat([tensor[: first + count], tensor[first + size : first + size + count]])


@pytest.mark.parametrize(("source", "target"), [(BODY, WHOLEBODY), (WHOLEBODY, BODY)])
def test_a_stage_takes_the_rows_of_shared_keypoints_and_all_that_has_none(tmp_path, source, target):
    one, other = wide_awake(PoseNetwork(HIGHER, source)), wide_awake(PoseNetwork(HIGHER, target))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    write_checkpoint(tmp_path / "one.ckpt", one)
    report = transfer_weights(other, tmp_path / "one.ckpt")
    assert report.loaded_keypoints == BODY.keypoints  # the first of either
    for name, tensor in other.state_dict().items():
        if name not in other.keypoint_channels:
            assert torch.equal(tensor, one.state_dict()[name]), name
            continue
        shared = [keypoint_rows(network, name, BODY.size) for network in (other, one)]
        assert torch.equal(*shared), name
        assert torch.equal(tensor[-1], before[name][-1]) is (target is WHOLEBODY), name
    assert len(before) == report.loaded_tensors + len(other.keypoint_channels)


def test_stage_two_says_of_shared_keypoints_what_stage_one_said(body, tmp_path):
    write_checkpoint(tmp_path / "one.ckpt", body)
    network = PoseNetwork(HIGHER, WHOLEBODY).eval()
    transfer_weights(network, tmp_path / "one.ckpt")
    image = images()
    before, after = body(image), network(image)
    torch.testing.assert_close(after.tags[:, :, : BODY.size], before.tags)
    # what it says of new keypoints, which is next to nothing, counts in the finer map
    apart = (after.heatmaps[:, : BODY.size] - before.heatmaps).abs().max()
    assert apart < 1e-3 * before.heatmaps.std()


def test_a_head_that_only_one_has_starts_anew_or_is_left_out_and_this_is_told(body, tmp_path):
    write_checkpoint(tmp_path / "finer.ckpt", body)
    plain = PoseNetwork(PLAIN, BODY).eval()
    assert "the HigherHRNet head is left out" in str(
        transfer_weights(plain, tmp_path / "finer.ckpt")
    )
    image = images()
    said = body.forward_resolutions(image)
    assert equal(plain(image), (said.heatmaps[0], said.tags))
    write_checkpoint(tmp_path / "plain.ckpt", plain)
    finer = PoseNetwork(HIGHER, BODY).eval()
    fresh = finer.higher_head.head.weight.clone()
    assert "so does the HigherHRNet head" in str(transfer_weights(finer, tmp_path / "plain.ckpt"))
    assert torch.equal(finer.higher_head.head.weight, fresh)
    assert torch.equal(finer.forward_resolutions(image).heatmaps[0], said.heatmaps[0])


def test_a_run_goes_on_with_the_head_that_it_had(body, tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", body)
    with pytest.raises(ValueError, match=f"is of {HIGHER} .* the model is of {PLAIN} "):
        check_resumable(PoseNetwork(PLAIN, BODY), tmp_path / "x.ckpt")


def test_a_run_goes_on_with_peaks_where_it_learned_them(body, tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", body)
    with pytest.raises(ValueError, match=r"learned peaks with .*subpixel=false"):
        check_resumable(PoseNetwork(HIGHER, BODY, subpixel=True), tmp_path / "x.ckpt")


def test_a_finer_head_that_is_not_whole_is_an_error(body, tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", body)
    content = torch.load(tmp_path / "x.ckpt")
    content["state_dict"].pop("network.higher_head.layers.1.0.conv1.weight")
    torch.save(content, tmp_path / "x.ckpt")
    for read in (load_network, lambda file: transfer_weights(PoseNetwork(HIGHER, WHOLEBODY), file)):
        with pytest.raises(ValueError, match="lacks 1 tensors"):
            read(tmp_path / "x.ckpt")


def test_steps_on_two_drawn_people_lower_the_loss_at_either_resolution():
    torch.manual_seed(0)
    network = PoseNetwork(HIGHER, BODY, tag_init_std=0.1)
    goals = targets(people((20, 20), (44, 40), kinds=BODY.size))
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[..., 16:24, 16:24], image[..., 36:44, 40:48] = 255, 128
    criterion = AssociativeEmbeddingLoss(foreground_weight=30)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    history = []
    for _ in range(30):
        resolutions = network.forward_resolutions(image)
        each = [heatmap_loss(*pair) for pair in zip(resolutions.heatmaps, goals, strict=True)]
        history.append([loss.item() for loss in each])
        optimizer.zero_grad()
        criterion.total(criterion(resolutions, goals)).backward()
        optimizer.step()
    for first, last in zip(history[0], history[-1], strict=True):
        assert last < first / 3
