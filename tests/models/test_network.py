"""The network holds what it uses; weights arrive, or it says that they did not."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from tagpose.models.backbone import build_hrnet
from tagpose.models.checkpoint import SPEC_KEY, read_tensors, write_checkpoint, write_torch
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import load_network, transfer_weights
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import build_skeleton

SMALL = "hrnet_w18_small"


@pytest.fixture(scope="module")
def body():
    torch.manual_seed(0)
    return PoseNetwork(SMALL, BODY).eval()


@pytest.fixture
def checkpoint(body, tmp_path):
    write_checkpoint(tmp_path / "body.ckpt", body)
    return tmp_path / "body.ckpt"


@pytest.mark.parametrize("architecture", [SMALL, f"higher{SMALL}"])
def test_every_parameter_receives_a_gradient(architecture):
    network = PoseNetwork(architecture, BODY)
    keypoint_maps = network(torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8))
    (keypoint_maps.heatmaps.sum() + keypoint_maps.tags.sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_maps_are_a_quarter_of_the_input_for_every_keypoint(body):
    keypoint_maps = body(torch.zeros(2, 3, 64, 128, dtype=torch.uint8))
    assert keypoint_maps.heatmaps.shape == (2, BODY.size, 16, 32)
    assert keypoint_maps.tags.shape == (2, 1, BODY.size, 16, 32)


@pytest.mark.parametrize(
    ("name", "parameters"), [("hrnet_w18_small", 1.285), ("hrnet_w32", 28.536)]
)
def test_the_backbone_is_of_the_published_size(name, parameters):
    backbone, _ = build_hrnet(name)
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(
        parameters, abs=1e-3
    )


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'hrnet_w33' is no HRNet of timm; there are .*hrnet_w32"):
        build_hrnet("hrnet_w33")
    with pytest.raises(ValueError, match="'hand' is unknown; there are body, wholebody"):
        build_skeleton("hand")


def test_a_checkpoint_comes_back_as_the_same_network(body, checkpoint):
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    for a, b in zip(load_network(checkpoint)(image), body(image), strict=True):
        assert torch.equal(a, b)


def test_weights_of_any_precision_and_layout_arrive_in_those_of_the_network(checkpoint):
    content = torch.load(checkpoint)
    state = content["state_dict"]
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = value.contiguous().half()
    torch.save(content, checkpoint)
    here, wanted = load_network(checkpoint), PoseNetwork(SMALL, BODY)
    assert not here.training
    for key, other in wanted.state_dict().items():
        ours = here.state_dict()[key]
        assert (ours.dtype, ours.stride()) == (other.dtype, other.stride()), key
        assert ours.device.type == "cpu"
    assert all(parameter.requires_grad for parameter in here.parameters())


def test_stage_two_predicts_the_shared_keypoints_as_stage_one_did(body, checkpoint):
    network = PoseNetwork(SMALL, WHOLEBODY).eval()
    report = transfer_weights(network, checkpoint)
    assert report.loaded_keypoints == BODY.keypoints
    assert len(report.new_keypoints) == WHOLEBODY.size - BODY.size
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    before, after = body(image), network(image)
    torch.testing.assert_close(after.heatmaps[:, : BODY.size], before.heatmaps)
    torch.testing.assert_close(after.tags[:, :, : BODY.size], before.tags)


def test_fields_keep_their_digits_where_the_backbone_computes_in_bf16(body):
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    exact = body(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        keypoint_maps = body(image)
    for mine, whole in zip(keypoint_maps, exact, strict=True):
        assert mine.dtype == torch.float32
        assert not torch.equal(mine, mine.bfloat16().float())
        assert (mine - whole).abs().max() < 0.1 * whole.std()


def test_weights_have_the_same_names_and_travel_where_the_backbone_is_compiled(body, checkpoint):
    compiled = PoseNetwork(SMALL, BODY, compiled=True)
    assert list(compiled.state_dict()) == list(body.state_dict())
    transfer_weights(compiled, checkpoint)
    for copied in (compiled, copy.deepcopy(compiled)):  # averages of weights are copies
        for key, value in copied.state_dict().items():
            assert torch.equal(value, body.state_dict()[key]), key


@pytest.mark.slow
def test_a_compiled_network_says_and_learns_what_a_plain_one_does():
    plain, compiled = PoseNetwork(SMALL, BODY), PoseNetwork(SMALL, BODY, compiled=True)
    compiled.load_state_dict(plain.state_dict())
    image = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    said = []
    for network in (plain, compiled):
        keypoint_maps = network(image)
        (keypoint_maps.heatmaps - 1).square().mean().add(
            (keypoint_maps.tags - 1).square().mean()
        ).backward()
        said.append(keypoint_maps)
    for mine, other in zip(*said, strict=True):
        assert (mine - other).abs().max() < 1e-3 * mine.std()
    for (name, mine), other in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        # statistics of few cells amplify rounding
        assert (mine.grad - other.grad).norm() < 3e-2 * mine.grad.norm(), name


def test_another_architecture_is_refused(checkpoint):
    with pytest.raises(ValueError, match=r"is of hrnet_w18_small, the model is hrnet_w18_small_v2"):
        transfer_weights(PoseNetwork("hrnet_w18_small_v2", BODY), checkpoint)


def test_a_missing_tensor_is_an_error(checkpoint):
    content = torch.load(checkpoint)
    content["state_dict"].pop("network.backbone.conv1.weight")
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match="lacks 1 tensors"):
        transfer_weights(PoseNetwork(SMALL, WHOLEBODY), checkpoint)
    with pytest.raises(ValueError, match="lacks 1 tensors"):
        load_network(checkpoint)


def test_what_is_no_checkpoint_is_refused_and_its_code_is_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "created"), "w"))

    torch.save({"state_dict": {}, SPEC_KEY: Malicious()}, tmp_path / "evil.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    for name, says in (("evil", "no whole checkpoint"), ("other", "no checkpoint of tagpose")):
        with pytest.raises(ValueError, match=says):
            load_network(tmp_path / f"{name}.ckpt")
    assert not (tmp_path / "created").exists()


@pytest.fixture
def local_weights(monkeypatch):
    """Have timm read ImageNet weights from a local file, through its own loading."""

    def point_to(file):
        def local(model, pretrained_cfg, **options):
            import timm.models

            return timm.models.load_pretrained(
                model, pretrained_cfg | {"file": str(file)}, **options
            )

        monkeypatch.setattr("tagpose.models.backbone.load_pretrained", local)

    return point_to


def test_imagenet_weights_are_loaded_and_a_wrong_file_is_refused(tmp_path, local_weights):
    import timm

    published = timm.create_model(SMALL)
    torch.nn.init.normal_(published.conv1.weight, std=0.5)
    for name, buffer in published.named_buffers():
        if "running" in name:
            buffer += 0.5
    for parameter in published.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.25
    save_file(published.state_dict(), tmp_path / "right.safetensors")
    local_weights(tmp_path / "right.safetensors")
    backbone, _ = build_hrnet(SMALL, pretrained=True)
    assert torch.equal(backbone.conv1.weight, published.conv1.weight)
    save_file({"other.weight": torch.zeros(3)}, tmp_path / "wrong.safetensors")
    local_weights(tmp_path / "wrong.safetensors")
    with pytest.raises(RuntimeError, match="belongs to another network"):
        build_hrnet(SMALL, pretrained=True)


@pytest.mark.parametrize("layout", ["plain", "in a pose checkpoint", "without counters"])
def test_a_backbone_starts_from_a_file_of_weights(tmp_path, layout):
    source, _ = build_hrnet(SMALL)
    state = dict(source.state_dict())
    if layout == "in a pose checkpoint":
        state = {"state_dict": {f"backbone.{key}": value for key, value in state.items()}}
    elif layout == "without counters":
        state = {key: value for key, value in state.items() if "tracked" not in key}
        state["classifier.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "build_hrnet.pth")
    backbone, _ = build_hrnet(SMALL, pretrained=str(tmp_path / "build_hrnet.pth"))
    for key, value in source.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], value)


def test_the_weights_of_an_address_are_read_from_the_cache_of_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source, _ = build_hrnet(SMALL)
    cached = tmp_path / "hub" / "checkpoints" / "build_hrnet-0123abcd.pth"
    cached.parent.mkdir(parents=True)
    torch.save(source.state_dict(), cached)
    backbone, _ = build_hrnet(SMALL, pretrained="https://localhost/some/build_hrnet-0123abcd.pth")
    assert torch.equal(backbone.conv1.weight, source.conv1.weight)
    with pytest.raises(RuntimeError, match=r"other\.pth could not be downloaded .*pretrained=FILE"):
        build_hrnet(SMALL, pretrained="https://localhost:1/other.pth")


def test_a_file_that_is_not_of_the_backbone_is_refused(tmp_path):
    narrow, _ = build_hrnet(SMALL)
    torch.save(narrow.state_dict(), tmp_path / "w18.pth")
    (tmp_path / "text.pth").write_text("weights")
    refusals = {
        "w18.pth": "tensors of hrnet_w32, and .* is missing or has another shape",
        "text.pth": "holds no tensors that can be read",
    }
    for file, says in refusals.items():
        with pytest.raises(ValueError, match=says):
            build_hrnet("hrnet_w32", pretrained=str(tmp_path / file))
    with pytest.raises(FileNotFoundError, match=r"mmpose are missing; .*expects true, false, a"):
        build_hrnet(SMALL, pretrained="mmpose")


def test_weights_that_cannot_be_fetched_are_told_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"could not be fetched.* model.network.pretrained=false"
    ):
        build_hrnet(SMALL, pretrained=True)


def test_tensors_of_other_shapes_than_a_checkpoint_says_are_refused(checkpoint, tmp_path):
    content = read_tensors(checkpoint)
    name = "network.backbone.conv1.weight"
    content["state_dict"][name] = content["state_dict"][name][:, :2]
    write_torch(tmp_path / "x.ckpt", content)
    with pytest.raises(ValueError, match=rf"x\.ckpt is not of {SMALL} as it says: size mismatch"):
        load_network(tmp_path / "x.ckpt")
