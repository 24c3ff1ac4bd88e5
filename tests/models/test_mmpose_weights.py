"""MMPose checkpoints, publishing, model cards, and the comparison with published results."""

import json
import shlex
from functools import partial

import numpy as np
import pytest
import torch

from helpers.run_scripts import run, succeeded
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.evaluation.keypoint_ap import PartScores
from tagpose.evaluation.published_results import compare_to_published, find_published_result
from tagpose.models.checkpoint import (
    load_network,
    read_checkpoint,
    write_checkpoint,
    write_mmpose_checkpoint,
)
from tagpose.models.model_card import (
    UNKNOWN_ORIGIN,
    describe_origin,
    read_metrics,
    render_model_card,
)
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import transfer_weights
from tagpose.provenance import fingerprint
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.training.resume_checkpoint import check_resumable

SMALL = "hrnet_w18_small"
slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PoseNetwork(SMALL, WHOLEBODY).eval()


def equal_states(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY])
@pytest.mark.parametrize("architecture", [SMALL, f"higher{SMALL}"])
def test_a_written_mmpose_checkpoint_is_read_as_the_same_network(
    tmp_path, suffix, skeleton, architecture
):
    network = PoseNetwork(architecture, skeleton)
    write_mmpose_checkpoint(tmp_path / f"weights.{suffix}", network)
    loaded = load_network(tmp_path / f"weights.{suffix}")
    assert loaded.spec == network.spec
    assert equal_states(loaded.state_dict(), network.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == [f"weights.{suffix}"]


@pytest.mark.parametrize(
    "architecture",
    [
        SMALL,
        "hrnet_w18_small_v2",
        slow("hrnet_w32"),
        slow("hrnet_w48"),
        f"higher{SMALL}",
        slow("higherhrnet_w32"),
    ],
)
def test_the_architecture_is_inferred_from_shapes(tmp_path, architecture):
    write_mmpose_checkpoint(tmp_path / "weights.pth", PoseNetwork(architecture, BODY))
    assert read_checkpoint(tmp_path / "weights.pth").spec[:2] == (architecture, BODY)


def write_modified(file, network, modify):
    """Write an MMPose checkpoint with modified tensors and without the network specification."""
    write_mmpose_checkpoint(file, network)
    content = torch.load(file)
    del content["meta"]
    modify(content["state_dict"])
    torch.save(content, file)
    return file


@pytest.mark.parametrize(
    ("modify", "message"),
    [
        (lambda s: s.pop("backbone.conv2.weight"), "backbone.conv2.weight is missing"),
        (lambda s: s.update({"backbone.odd": torch.ones(1)}), "backbone.odd is unexpected"),
        (
            lambda s: s.update({"backbone.conv1.weight": torch.ones(64, 1, 3, 3)}),
            r"backbone.conv1.weight has shape \[64, 1, 3, 3\] instead of \[64, 3, 3, 3\]",
        ),
        (
            lambda s: s.update({"keypoint_head.final_layer.weight": torch.ones(42, 16, 1, 1)}),
            r"42 output channels; expected 34 \(body\), 266 \(wholebody\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_listed(tmp_path, network, modify, message):
    file = write_modified(tmp_path / "weights.pth", network, modify)
    with pytest.raises(ValueError, match=f"weights.pth: .*{message}"):
        load_network(file)


def test_a_checkpoint_of_another_method_is_an_error_that_lists_its_head(tmp_path):
    state = {
        "backbone.conv1.weight": torch.ones(1),
        "keypoint_head.offsets.0.bias": torch.ones(1),
    }
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"but keypoint_head\.offsets\.0\.bias; use a checkpoint of"
    ):
        load_network(tmp_path / "other.pth")


@pytest.mark.slow
def test_tensors_of_a_higherhrnet_that_do_not_fit_are_listed(tmp_path):
    network = PoseNetwork(f"higher{SMALL}", WHOLEBODY)
    name = "keypoint_head.deconv_layers.0.2.0.conv1.weight"
    file = write_modified(tmp_path / "weights.pth", network, lambda state: state.pop(name))
    message = rf"1 tensors differ from .* higher{SMALL}: higher_head\.layers\.2\.0\.conv1"
    with pytest.raises(ValueError, match=message):
        load_network(file)


def test_numpy_scalars_in_the_metadata_are_accepted(tmp_path, network):
    write_mmpose_checkpoint(tmp_path / "weights.pth", network)
    content = torch.load(tmp_path / "weights.pth")
    content["meta"]["hook_msgs"] = {"best_score": np.float64(0.342), "best_epoch": np.int64(3)}
    torch.save(content, tmp_path / "weights.pth")
    loaded = load_network(tmp_path / "weights.pth")
    assert equal_states(loaded.state_dict(), network.state_dict())


def test_mmpose_checkpoints_can_initialize_but_not_resume_a_run(tmp_path, network):
    body = PoseNetwork(SMALL, BODY)
    write_mmpose_checkpoint(tmp_path / "body.pth", body)
    wholebody = PoseNetwork(SMALL, WHOLEBODY)
    assert len(transfer_weights(wholebody, tmp_path / "body.pth").loaded_keypoints) == BODY.size
    assert torch.equal(wholebody.backbone.conv1.weight, body.backbone.conv1.weight)
    write_mmpose_checkpoint(tmp_path / "wholebody.pth", network)
    with pytest.raises(ValueError, match="no training state, so it cannot be resumed"):
        check_resumable(network, tmp_path / "wholebody.pth")


def test_importing_and_publishing_cancel(tmp_path, network):
    write_mmpose_checkpoint(tmp_path / "theirs.pth", network)
    result = run("convert", "checkpoint=theirs.pth", "output=ours", cwd=tmp_path)
    expected = f"{SMALL}, skeleton wholebody (133 keypoints), 1,289,194 parameters"
    assert expected in succeeded(result).stdout
    again = run("convert", "checkpoint=theirs.pth", "output=ours", cwd=tmp_path)
    assert "theirs.ckpt exists; remove it" in again.stderr
    succeeded(run("publish", "checkpoint=ours/theirs.ckpt", "output=out", cwd=tmp_path))
    for suffix in ("pth", "safetensors"):
        content = read_checkpoint(tmp_path / f"out/{SMALL}_wholebody.{suffix}")
        assert equal_states(content.state, network.state_dict())
    original, published = (
        torch.load(tmp_path / file)["state_dict"]
        for file in ("theirs.pth", f"out/{SMALL}_wholebody.pth")
    )
    assert equal_states(published, original)


def test_a_model_card_contains_data_license_command_and_metrics(tmp_path, network):
    run_folder = tmp_path / "run"
    write_checkpoint(run_folder / "best.ckpt", network)
    (run_folder / ".hydra").mkdir()
    (run_folder / ".hydra/overrides.yaml").write_text("[experiment=finetune, input_size=256]")
    (run_folder / ".hydra/config.yaml").write_text("init_from: one.ckpt")
    choices = "hydra: {runtime: {choices: {data: coco_wholebody}}}"
    (run_folder / ".hydra/hydra.yaml").write_text(choices)
    sha256 = fingerprint(run_folder / "best.ckpt")["sha256"]
    metrics = {
        "title": "val",
        "test": {"flip_test": True},
        "parts": {"body": {"ap": 0.5, "ar": 0.6}},
    }
    for name, checksum in (("own", sha256), ("other", "0" * 64)):
        text = json.dumps(metrics | {"checkpoint": {"sha256": checksum}})
        (tmp_path / f"{name}.json").write_text(text)
    command = ("checkpoint=run/best.ckpt", "output=out")
    with pytest.raises(ValueError, match=r"other\.json belongs to another checkpoint"):
        read_metrics(tmp_path / "other.json", sha256)
    succeeded(run("publish", *command, "metrics=own.json", cwd=tmp_path))
    card = (tmp_path / f"out/{SMALL}_wholebody.md").read_text()
    for text in (
        "non-commercial research only",
        "one.ckpt",
        "experiment=finetune input_size=256",
        "| body | 0.500 | 0.600 |",
        "flip_test=True",
    ):
        assert text in card
    assert "Not evaluated" in render_model_card("x", network, UNKNOWN_ORIGIN, None)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("init_from=/home/me/runs/pretrain/T/best.ckpt", "init_from=runs/pretrain/T/best.ckpt"),
        ("init_from=/home/me/weights.pth", "init_from=weights.pth"),
        ("data.root='/home/me/my coco'", "data.root='my coco'"),
        ("data.root=/home/me/coco/", "data.root=coco"),
        ("data.val=[/home/me/val.json,/home/me/val2017]", "data.val=[val.json,val2017]"),
        ("data.val=[a.json, /home/me/val2017]", "data.val=[a.json, val2017]"),
        ("+own={root:/home/me/a,name:b}", "+own={root:a,name:b}"),
        ("hydra.searchpath=[file:///home/me/conf]", "hydra.searchpath=[conf]"),
        *[
            (unchanged, unchanged)
            for unchanged in (
                "init_from=runs/pretrain/T/best.ckpt",
                "data.root=../coco",
                "output=${paths.runs}/best",
                "logger.wandb.host=https://home/me",
                "data.transforms.crop.zoom=[0.5,2]",
            )
        ],
    ],
)
def test_a_model_card_contains_no_local_paths(network, override, expected):
    key, value = override.split("=")
    origin = describe_origin("coco", [override], value if key == "init_from" else None)
    card = render_model_card("x", network, origin, None)
    assert shlex.join(["tagpose", "train", expected]) in card
    assert "/home" not in card.replace("https://home", "")


def test_written_checkpoints_are_reproducible(tmp_path, network):
    files = [tmp_path / folder / "weights.pth" for folder in ("first", "second")]
    for file in files:
        write_mmpose_checkpoint(file, network)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_metrics_may_differ_from_published_ones_by_a_small_tolerance():
    row = find_published_result("hrnet_w32", "body", (2, 1, 0.5))
    for ap, exceeds in ((0.698, False), (0.6995, False), (0.7005, True), (0.0, True)):
        comparison = compare_to_published(row, {"body": PartScores(*[ap] * 5, *[0.748] * 5)})
        assert [metric.exceeds_tolerance for metric in comparison] == [exceeds, False]
    with pytest.raises(ValueError, match=r"no results .* scales \[3\]; use one of: hrnet_w32"):
        find_published_result("hrnet_w32", "body", (3,))


def test_a_checkpoint_that_misses_the_published_results_is_an_error(tmp_path):
    write_synthetic_dataset(
        tmp_path / "data", train=1, val=1, image_size=192, max_people=1, processes=1
    )
    network = PoseNetwork("hrnet_w32", WHOLEBODY)
    torch.nn.init.zeros_(network.head.weight)  # random weights would detect thousands of people
    write_checkpoint(tmp_path / "w32.ckpt", network)
    arguments = ("experiment=published", "model=hrnet_w32", "data.root=data", "data.num_workers=0")
    result = run("evaluate", *arguments, "output=out", "checkpoint=w32.ckpt", cwd=tmp_path)
    assert result.returncode == 1
    assert (
        "wholebody ap, wholebody ar differ from the published results of hrnet_w32" in result.stderr
    )
    comparison = json.loads((tmp_path / "out/published.json").read_text())
    assert {"part": "body", "metric": "ar", "published": 0.65, "measured": 0.0} in comparison
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert len(metrics["parts"]["wholebody"]) == 10
    assert metrics["checkpoint"]["sha256"]
    assert {"torch", "timm", "numpy", "pillow", "jpeg"} <= metrics["versions"].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("experiment=published",), "set model=hrnet_w32 or another"),
        (
            ("experiment=published", "model=hrnet_w32", "input_size=256"),
            "differ from the published evaluation; use input_size=512",
        ),
        slow(
            ("experiment=published", "model=hrnet_w32", "predictor.precision=bf16"),
            "predictor.flip_test=true predictor.precision=float32",
        ),
        (("experiment=published", "model=hrnet_w32"), "the dataset lacks data/coco"),
        slow(
            ("experiment=published_body", "model=hrnet_w18_small"), "no results were published for"
        ),
        slow(("experiment=publishd", "model=hrnet_w32"), "publishd"),
        (
            ("model=hrnet_w32", "checkpoint=w18.ckpt"),
            "is a checkpoint of hrnet_w18_small with the skeleton wholebody, expected",
        ),
    ],
)
def test_a_test_that_cannot_be_reproduced_is_an_error(tmp_path, network, arguments, message):
    write_checkpoint(tmp_path / "w18.ckpt", network)
    result = run("evaluate", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_results_in_coco_format_are_scored(people, tmp_path):
    ground_truth = people / "annotations/coco_wholebody_val_v1.0.json"
    annotations = json.loads(ground_truth.read_text())["annotations"]
    results = [annotation | {"score": 1.0} for annotation in annotations]
    (tmp_path / "results.json").write_text(json.dumps(results))
    command = ("score", "results=results.json", f"ground_truth={ground_truth}")
    result = run(*command, cwd=tmp_path)
    assert all(f"{part} " in succeeded(result).stdout for part in ("body", "left hand", "whole"))
    assert "1.000" in result.stdout
    result = run(*command, "skeleton=bdy", cwd=tmp_path)
    assert "Could not find 'skeleton/bdy'" in result.stderr
