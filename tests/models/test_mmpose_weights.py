"""The published layout: what is imported is what was published, and what does not fit is listed."""

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
from tagpose.models.checkpoint import read_checkpoint, write_checkpoint, write_mmpose_checkpoint
from tagpose.models.model_card import (
    UNKNOWN_ORIGIN,
    describe_origin,
    read_metrics,
    render_model_card,
)
from tagpose.models.network import PoseNetwork
from tagpose.models.transfer import check_resumable, load_network, transfer_weights
from tagpose.provenance import fingerprint
from tagpose.skeletons.coco import BODY, WHOLEBODY

SMALL = "hrnet_w18_small"
slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PoseNetwork(SMALL, WHOLEBODY).eval()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY])
@pytest.mark.parametrize("architecture", [SMALL, f"higher{SMALL}"])
def test_what_was_published_is_imported_as_the_same_tensors(
    tmp_path, ending, skeleton, architecture
):
    network = PoseNetwork(architecture, skeleton)
    write_mmpose_checkpoint(tmp_path / f"weights.{ending}", network)
    back = load_network(tmp_path / f"weights.{ending}")
    assert back.spec == network.spec
    assert same(back.state_dict(), network.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == [f"weights.{ending}"]


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
def test_the_architecture_is_told_from_the_shapes(tmp_path, architecture):
    write_mmpose_checkpoint(tmp_path / "weights.pth", PoseNetwork(architecture, BODY))
    assert read_checkpoint(tmp_path / "weights.pth").spec[:2] == (architecture, BODY)


def edited(file, network, change):
    """A published file with changed tensors; like others' it does not say what it is of."""
    write_mmpose_checkpoint(file, network)
    content = torch.load(file)
    del content["meta"]
    change(content["state_dict"])
    torch.save(content, file)
    return file


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("backbone.conv2.weight"), "backbone.conv2.weight is missing"),
        (lambda s: s.update({"backbone.odd": torch.ones(1)}), "backbone.odd is too much"),
        (
            lambda s: s.update({"backbone.conv1.weight": torch.ones(64, 1, 3, 3)}),
            r"backbone.conv1.weight is \[64, 1, 3, 3\] instead of \[64, 3, 3, 3\]",
        ),
        (
            lambda s: s.update({"keypoint_head.final_layer.weight": torch.ones(42, 16, 1, 1)}),
            r"42 rows .* known are 34 \(body\), 266 \(wholebody\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_listed(tmp_path, network, change, says):
    file = edited(tmp_path / "weights.pth", network, change)
    with pytest.raises(ValueError, match=f"weights.pth: .*{says}"):
        load_network(file)


def test_another_method_is_refused_with_what_it_has_for_a_head(tmp_path):
    state = {
        "backbone.conv1.weight": torch.ones(1),
        "keypoint_head.offsets.0.bias": torch.ones(1),
    }
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"but keypoint_head\.offsets\.0\.bias; is it of another"):
        load_network(tmp_path / "other.pth")


def test_of_a_higherhrnet_what_does_not_fit_is_listed(tmp_path):
    network = PoseNetwork(f"higher{SMALL}", WHOLEBODY)
    name = "keypoint_head.deconv_layers.0.2.0.conv1.weight"
    file = edited(tmp_path / "weights.pth", network, lambda state: state.pop(name))
    says = rf"from the nearest, higher{SMALL}, 1 tensors differ: higher_head\.layers\.2\.0\.conv1"
    with pytest.raises(ValueError, match=says):
        load_network(file)


def test_a_best_score_kept_as_a_number_of_numpy_is_no_hindrance(tmp_path, network):
    write_mmpose_checkpoint(tmp_path / "weights.pth", network)
    content = torch.load(tmp_path / "weights.pth")
    content["meta"]["hook_msgs"] = {"best_score": np.float64(0.342), "best_epoch": np.int64(3)}
    torch.save(content, tmp_path / "weights.pth")
    assert same(load_network(tmp_path / "weights.pth").state_dict(), network.state_dict())


def test_a_stage_starts_from_a_published_checkpoint_but_nothing_is_resumed_from_it(
    tmp_path, network
):
    body = PoseNetwork(SMALL, BODY)
    write_mmpose_checkpoint(tmp_path / "body.pth", body)
    other = PoseNetwork(SMALL, WHOLEBODY)
    assert len(transfer_weights(other, tmp_path / "body.pth").loaded_keypoints) == 17
    assert torch.equal(other.backbone.conv1.weight, body.backbone.conv1.weight)
    write_mmpose_checkpoint(tmp_path / "whole.pth", network)
    with pytest.raises(ValueError, match="nothing can be resumed; init_from"):
        check_resumable(network, tmp_path / "whole.pth")


def test_import_and_publish_lead_there_and_back(tmp_path, network):
    write_mmpose_checkpoint(tmp_path / "theirs.pth", network)
    result = run("convert", "checkpoint=theirs.pth", "output=ours", cwd=tmp_path)
    said = succeeded(result).stdout
    assert f"{SMALL}, skeleton wholebody (133 keypoints), 1,289,194 parameters" in said
    again = run("convert", "checkpoint=theirs.pth", "output=ours", cwd=tmp_path)
    assert "theirs.ckpt exists; remove it" in again.stderr
    succeeded(run("publish", "checkpoint=ours/theirs.ckpt", "output=out", cwd=tmp_path))
    theirs = torch.load(tmp_path / "theirs.pth")["state_dict"]
    for ending in ("pth", "safetensors"):
        back = read_checkpoint(tmp_path / f"out/{SMALL}_wholebody.{ending}")
        assert same(back.state, network.state_dict())
    assert same(torch.load(tmp_path / f"out/{SMALL}_wholebody.pth")["state_dict"], theirs)


def test_a_card_says_what_a_model_learned_from_its_licence_and_its_own_numbers(tmp_path, network):
    run_folder = tmp_path / "run"
    write_checkpoint(run_folder / "best.ckpt", network)
    (run_folder / ".hydra").mkdir()
    (run_folder / ".hydra/overrides.yaml").write_text("[experiment=finetune, input_size=256]")
    (run_folder / ".hydra/config.yaml").write_text("init_from: one.ckpt")
    choices = "hydra: {runtime: {choices: {data: coco_wholebody}}}"
    (run_folder / ".hydra/hydra.yaml").write_text(choices)
    sha256 = fingerprint(run_folder / "best.ckpt")["sha256"]
    numbers = {
        "title": "val",
        "test": {"flip_test": True},
        "parts": {"body": {"ap": 0.5, "ar": 0.6}},
    }
    for name, of in (("own", sha256), ("other", "0" * 64)):
        said = json.dumps(numbers | {"checkpoint": {"sha256": of}})
        (tmp_path / f"{name}.json").write_text(said)
    command = ("checkpoint=run/best.ckpt", "output=out")
    with pytest.raises(ValueError, match=r"other\.json is of another checkpoint"):
        read_metrics(tmp_path / "other.json", sha256)
    succeeded(run("publish", *command, "metrics=own.json", cwd=tmp_path))
    card = (tmp_path / f"out/{SMALL}_wholebody.md").read_text()
    for words in (
        "non-commercial research only",
        "one.ckpt",
        "experiment=finetune input_size=256",
        "| body | 0.500 | 0.600 |",
        "flip_test=True",
    ):
        assert words in card
    assert "Not scored" in render_model_card("x", network, UNKNOWN_ORIGIN, None)


@pytest.mark.parametrize(
    ("override", "shown"),
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
            (same, same)
            for same in (
                "init_from=runs/pretrain/T/best.ckpt",
                "data.root=../coco",
                "output=${paths.runs}/best",
                "logger.wandb.host=https://home/me",
                "data.transforms.crop.zoom=[0.5,2]",
            )
        ],
    ],
)
def test_a_card_names_no_folder_of_the_machine_it_was_written_on(network, override, shown):
    key, value = override.split("=")
    said = describe_origin("coco", [override], value if key == "init_from" else None)
    card = render_model_card("x", network, said, None)
    assert shlex.join(["python", "scripts/train.py", shown]) in card
    assert "/home" not in card.replace("https://home", "")


def test_what_is_published_twice_has_the_same_bytes(tmp_path, network):
    for name in ("one", "two"):
        write_mmpose_checkpoint(tmp_path / name / "weights.pth", network)
    one, two = ((tmp_path / name / "weights.pth").read_bytes() for name in ("one", "two"))
    assert one == two


def test_every_published_checkpoint_is_named_by_its_checksum():
    for architecture in ("hrnet_w32", "hrnet_w48", "higherhrnet_w32", "higherhrnet_w48"):
        for skeleton in ("body", "wholebody"):
            checksum = find_published_result(architecture, skeleton, (1,)).checksum
            assert len(checksum) == 8
            assert int(checksum, 16)


def test_a_number_is_off_when_it_differs_by_more_than_rounding_and_libraries_explain():
    row = find_published_result("hrnet_w32", "body", (2, 1, 0.5))
    for ours, off in ((0.698, False), (0.6995, False), (0.7005, True), (0.0, True)):
        found = compare_to_published(row, {"body": PartScores(*[ours] * 5, *[0.748] * 5)})
        assert [one.exceeds_tolerance for one in found] == [off, False]
    with pytest.raises(ValueError, match=r"no results .* scales \[3\], but of hrnet_w32"):
        find_published_result("hrnet_w32", "body", (3,))


def test_a_checkpoint_that_misses_the_published_numbers_ends_with_an_error(tmp_path):
    write_synthetic_dataset(tmp_path / "data", train=1, val=1, image_size=192, max_people=1, processes=1)
    blind = PoseNetwork("hrnet_w32", WHOLEBODY)
    torch.nn.init.zeros_(blind.head.weight)  # noise would be thousands of people
    write_checkpoint(tmp_path / "w32.ckpt", blind)
    arguments = ("experiment=published", "model=hrnet_w32", "data.root=data", "data.num_workers=0")
    result = run("evaluate", *arguments, "output=out", "checkpoint=w32.ckpt", cwd=tmp_path)
    assert result.returncode == 1
    assert (
        "wholebody ap, wholebody ar differ from the published results of hrnet_w32" in result.stderr
    )
    shown = json.loads((tmp_path / "out/published.json").read_text())
    assert {"part": "body", "metric": "ar", "published": 0.65, "measured": 0.0} in shown
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert len(metrics["parts"]["wholebody"]) == 10
    assert metrics["checkpoint"]["sha256"]
    assert {"torch", "timm", "numpy", "pillow", "jpeg"} <= metrics["versions"].keys()


@pytest.mark.parametrize(
    ("arguments", "says"),
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
        (("experiment=published", "model=hrnet_w32"), "the data set lacks data/coco"),
        slow(
            ("experiment=published_body", "model=hrnet_w18_small"), "no results were published of"
        ),
        slow(("experiment=publishd", "model=hrnet_w32"), "publishd"),
        (
            ("model=hrnet_w32", "checkpoint=w18.ckpt"),
            "is a checkpoint of hrnet_w18_small with the skeleton wholebody, expected",
        ),
    ],
)
def test_what_cannot_be_reproduced_is_one_sentence(tmp_path, network, arguments, says):
    write_checkpoint(tmp_path / "w18.ckpt", network)
    result = run("evaluate", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_a_result_file_of_anybody_is_scored(people, tmp_path):
    ground_truth = people / "annotations/coco_wholebody_val_v1.0.json"
    annotations = json.loads(ground_truth.read_text())["annotations"]
    rows = [row | {"score": 1.0} for row in annotations]
    (tmp_path / "found.json").write_text(json.dumps(rows))
    result = run("score", "results=found.json", f"ground_truth={ground_truth}", cwd=tmp_path)
    assert all(f"{part} " in succeeded(result).stdout for part in ("body", "left hand", "whole"))
    assert "1.000" in result.stdout
    result = run(
        "score", "results=found.json", f"ground_truth={ground_truth}", "skeleton=bdy", cwd=tmp_path
    )
    assert "Could not find 'skeleton/bdy'" in result.stderr
