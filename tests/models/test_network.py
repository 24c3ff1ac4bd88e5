"""Networks, checkpoints and initial weights: they are loaded exactly, or an error is raised."""

import copy

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import load_pretrained

from tagpose.models.checkpoint import (
    SPEC_KEY,
    load_network,
    read_tensors,
    write_checkpoint,
    write_torch,
)
from tagpose.models.hrnet import HRNETS, build_hrnet
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import transfer_weights
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


def test_maps_have_stride_4_and_a_channel_for_each_keypoint(body):
    keypoint_maps = body(torch.zeros(2, 3, 64, 128, dtype=torch.uint8))
    assert keypoint_maps.heatmaps.shape == (2, BODY.size, 16, 32)
    assert keypoint_maps.tags.shape == (2, 1, BODY.size, 16, 32)


@pytest.mark.parametrize(
    ("name", "parameters"), [("hrnet_w18_small", 1.285), ("hrnet_w32", 28.536)]
)
def test_the_backbone_has_the_published_number_of_parameters(name, parameters):
    backbone = build_hrnet(name)
    millions = sum(p.numel() for p in backbone.parameters()) / 1e6
    assert millions == pytest.approx(parameters, abs=1e-3)


@pytest.mark.parametrize(
    "name",
    [SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in sorted({*HRNETS} - {SMALL}))],
)
def test_the_backbone_equals_that_of_timm_bitwise_from_the_same_seed(name):
    torch.manual_seed(0)
    backbone = build_hrnet(name).eval()
    torch.manual_seed(0)
    reference = timm.create_model(name, features_only=True, feature_location="", out_indices=(1,))
    reference.stage4[-1].fuse_layers = reference.stage4[-1].fuse_layers[:1]
    assert list(backbone.state_dict()) == list(reference.state_dict())
    for own, expected in zip(backbone.parameters(), reference.parameters(), strict=True):
        assert torch.equal(own, expected)
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(backbone(image), reference.eval()(image)[0])


def test_every_hrnet_of_timm_is_known():
    assert sorted(HRNETS) == timm.list_models("hrnet_*")


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown HRNet 'hrnet_w33'; use one of .*hrnet_w32"):
        build_hrnet("hrnet_w33")
    with pytest.raises(ValueError, match="unknown skeleton 'hand'; use one of body, wholebody"):
        build_skeleton("hand")


def test_a_loaded_checkpoint_is_the_same_network(body, checkpoint):
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    for a, b in zip(load_network(checkpoint)(image), body(image), strict=True):
        assert torch.equal(a, b)


def test_weights_are_converted_to_the_precision_and_memory_format_of_the_network(checkpoint):
    content = torch.load(checkpoint)
    state = content["state_dict"]
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = value.contiguous().half()
    torch.save(content, checkpoint)
    loaded, expected = load_network(checkpoint), PoseNetwork(SMALL, BODY)
    assert not loaded.training
    for key, other in expected.state_dict().items():
        tensor = loaded.state_dict()[key]
        assert (tensor.dtype, tensor.stride()) == (other.dtype, other.stride()), key
        assert tensor.device.type == "cpu"
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_stage_two_predicts_shared_keypoints_like_stage_one(body, checkpoint):
    network = PoseNetwork(SMALL, WHOLEBODY).eval()
    report = transfer_weights(network, checkpoint)
    assert report.loaded_keypoints == BODY.keypoints
    assert len(report.new_keypoints) == WHOLEBODY.size - BODY.size
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    before, after = body(image), network(image)
    torch.testing.assert_close(after.heatmaps[:, : BODY.size], before.heatmaps)
    torch.testing.assert_close(after.tags[:, :, : BODY.size], before.tags)


def test_outputs_are_float32_under_autocast(body):
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    exact = body(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        keypoint_maps = body(image)
    for maps, expected in zip(keypoint_maps, exact, strict=True):
        assert maps.dtype == torch.float32
        assert not torch.equal(maps, maps.bfloat16().float())
        assert (maps - expected).abs().max() < 0.1 * expected.std()


def test_compilation_keeps_tensor_names_and_supports_copies(body, checkpoint):
    compiled = PoseNetwork(SMALL, BODY, compiled=True)
    assert list(compiled.state_dict()) == list(body.state_dict())
    transfer_weights(compiled, checkpoint)
    for copied in (compiled, copy.deepcopy(compiled)):  # weight averaging copies the network
        for key, value in copied.state_dict().items():
            assert torch.equal(value, body.state_dict()[key]), key


@pytest.mark.slow
def test_a_compiled_network_has_the_same_outputs_and_gradients():
    plain, compiled = PoseNetwork(SMALL, BODY), PoseNetwork(SMALL, BODY, compiled=True)
    compiled.load_state_dict(plain.state_dict())
    image = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    outputs = [network(image) for network in (plain, compiled)]
    for heatmaps, tags in outputs:
        ((heatmaps - 1).square().mean() + (tags - 1).square().mean()).backward()
    for expected, maps in zip(*outputs, strict=True):
        assert (expected - maps).abs().max() < 1e-3 * expected.std()
    for (name, a), b in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        # batch statistics of few pixels amplify rounding errors
        assert (a.grad - b.grad).norm() < 3e-2 * a.grad.norm(), name


def test_weights_of_another_architecture_are_an_error(checkpoint):
    with pytest.raises(
        ValueError, match="contains hrnet_w18_small, but the model is hrnet_w18_small_v2"
    ):
        transfer_weights(PoseNetwork("hrnet_w18_small_v2", BODY), checkpoint)


def test_a_missing_tensor_is_an_error(checkpoint):
    content = torch.load(checkpoint)
    content["state_dict"].pop("network.backbone.conv1.weight")
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match="lacks 1 tensors"):
        transfer_weights(PoseNetwork(SMALL, WHOLEBODY), checkpoint)
    with pytest.raises(ValueError, match="lacks 1 tensors"):
        load_network(checkpoint)


def test_files_that_are_not_checkpoints_are_errors_and_their_code_is_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "created"), "w"))

    torch.save({"state_dict": {}, SPEC_KEY: Malicious()}, tmp_path / "evil.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    messages = {"evil": "not a complete checkpoint", "other": "neither a tagpose checkpoint"}
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message):
            load_network(tmp_path / f"{name}.ckpt")
    assert not (tmp_path / "created").exists()


@pytest.fixture
def local_weights(monkeypatch):
    """Return a function that makes timm load ImageNet weights from a local file."""

    def point_to(file):
        def local(model, pretrained_cfg, **options):
            return load_pretrained(model, pretrained_cfg | {"file": str(file)}, **options)

        monkeypatch.setattr("timm.models.load_pretrained", local)

    return point_to


def test_imagenet_weights_are_loaded_and_those_of_another_network_are_an_error(
    tmp_path, local_weights
):
    pretrained = timm.create_model(SMALL)
    torch.nn.init.normal_(pretrained.conv1.weight, std=0.5)
    for name, buffer in pretrained.named_buffers():
        if "running" in name:
            buffer += 0.5
    for parameter in pretrained.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.25
    save_file(pretrained.state_dict(), tmp_path / "right.safetensors")
    local_weights(tmp_path / "right.safetensors")
    backbone = build_hrnet(SMALL, pretrained=True)
    assert torch.equal(backbone.conv1.weight, pretrained.conv1.weight)
    save_file({"other.weight": torch.zeros(3)}, tmp_path / "wrong.safetensors")
    local_weights(tmp_path / "wrong.safetensors")
    with pytest.raises(RuntimeError, match="belong to another network"):
        build_hrnet(SMALL, pretrained=True)


@pytest.mark.parametrize("layout", ["plain", "in a pose checkpoint", "without counters"])
def test_a_backbone_can_be_initialized_from_a_file(tmp_path, layout):
    source = build_hrnet(SMALL)
    state = dict(source.state_dict())
    if layout == "in a pose checkpoint":
        state = {"state_dict": {f"backbone.{key}": value for key, value in state.items()}}
    elif layout == "without counters":
        state = {key: value for key, value in state.items() if "tracked" not in key}
        state["classifier.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "build_hrnet.pth")
    backbone = build_hrnet(SMALL, pretrained=str(tmp_path / "build_hrnet.pth"))
    for key, value in source.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], value)


def test_weights_at_an_address_are_read_from_the_cache_of_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = build_hrnet(SMALL)
    cached = tmp_path / "hub" / "checkpoints" / "build_hrnet-0123abcd.pth"
    cached.parent.mkdir(parents=True)
    torch.save(source.state_dict(), cached)
    backbone = build_hrnet(SMALL, pretrained="https://localhost/some/build_hrnet-0123abcd.pth")
    assert torch.equal(backbone.conv1.weight, source.conv1.weight)
    with pytest.raises(RuntimeError, match=r"other\.pth could not be downloaded .*pretrained=FILE"):
        build_hrnet(SMALL, pretrained="https://localhost:1/other.pth")


def test_a_file_of_another_backbone_is_an_error(tmp_path):
    narrow = build_hrnet(SMALL)
    torch.save(narrow.state_dict(), tmp_path / "w18.pth")
    (tmp_path / "text.pth").write_text("weights")
    messages = {
        "w18.pth": "tensors of hrnet_w32, and .* is missing or has another shape",
        "text.pth": "cannot be read as tensors",
    }
    for file, message in messages.items():
        with pytest.raises(ValueError, match=message):
            build_hrnet("hrnet_w32", pretrained=str(tmp_path / file))
    with pytest.raises(FileNotFoundError, match=r"mmpose are missing; .*expects true, false, a"):
        build_hrnet(SMALL, pretrained="mmpose")


def test_a_failed_download_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"not be downloaded.* model.network.pretrained=false"):
        build_hrnet(SMALL, pretrained=True)


def test_tensors_that_do_not_fit_the_specification_are_an_error(checkpoint, tmp_path):
    content = read_tensors(checkpoint)
    name = "network.backbone.conv1.weight"
    content["state_dict"][name] = content["state_dict"][name][:, :2]
    write_torch(tmp_path / "x.ckpt", content)
    with pytest.raises(
        ValueError, match=rf"x\.ckpt does not contain the {SMALL} .*: size mismatch"
    ):
        load_network(tmp_path / "x.ckpt")
