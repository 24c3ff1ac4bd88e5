"""Custom skeletons: derived fields, errors, checkpoints and training."""

import json

import numpy as np
import pytest
import torch

from helpers.run_scripts import run, succeeded
from tagpose import Predictor
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.models.checkpoint import read_checkpoint, write_checkpoint, write_mmpose_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import build_skeleton, make_custom_skeleton, skeleton_to_dict
from tagpose.structures import Poses

FOX = {
    "name": "fox",
    "keypoints": ["nose", "left_ear", "right_ear", "tail"],
    "sigmas": [0.03, 0.04, 0.04, 0.1],
    "flip_pairs": [["left_ear", "right_ear"]],
    "bones": [["nose", "left_ear"], ["nose", "right_ear"], ["nose", "tail"]],
    "parts": {"head": 3, "back": 1},
}


@pytest.mark.parametrize(
    "skeleton",
    [
        BODY,
        WHOLEBODY,
        make_custom_skeleton(**FOX),
        make_custom_skeleton(**FOX | {"parts": {"all": 4}}),
    ],
)
def test_build_skeleton_inverts_skeleton_to_dict(skeleton):
    definition = json.loads(json.dumps(skeleton_to_dict(skeleton)))
    assert build_skeleton(**definition) == skeleton


def test_fields_are_derived_from_names():
    fox = make_custom_skeleton(**FOX)
    assert fox.flip_indices == (0, 2, 1, 3)
    assert fox.bones == ((0, 1), (0, 2), (0, 3))
    assert fox.parts == {"head": slice(0, 3), "back": slice(3, 4), "fox": slice(0, 4)}
    assert set(fox.disjoint_parts) == {"head", "back"}
    assert fox.json_keys == {"keypoints": slice(0, 4)}
    point = make_custom_skeleton("dot", ["center"], [0.1])
    assert point.parts == point.disjoint_parts == {"dot": slice(0, 1)}
    eyes = make_custom_skeleton("eyes", ["L_eye", "R_eye"], [0.1, 0.1])
    assert eyes.flip_indices == (1, 0)
    unpaired = skeleton_to_dict(eyes._replace(flip_indices=(0, 1)))
    assert make_custom_skeleton(**unpaired).flip_indices == (0, 1)
    pair = make_custom_skeleton("pair", ["a", "b"], [0.1, 0.1], parts={"all": 2})
    assert list(pair.parts) == ["all", "pair"]  # the AP of "pair" selects the best checkpoint


def test_ap_of_a_skeleton_named_hand_is_not_the_mean_of_its_parts():
    skeleton = make_custom_skeleton(
        "hand", ["a", "b"], [0.1, 0.1], parts={"lefthand": 1, "righthand": 1}
    )
    keypoints = np.array([[[5.0, 5, 2], [50, 50, 2]]])
    ground_truth = GroundTruth(np.array([1]), np.array([0]), keypoints, np.array([100.0]),
                  np.array([[0.0, 0, 60, 60]]), np.array([False]))  # fmt: skip
    moved = keypoints + np.array([[[0.0, 0, 0], [9, 0, 0]]])
    scores = evaluate_parts(ground_truth, {1: Poses(moved, np.array([1.0]))}, skeleton)
    assert scores["lefthand"].ap == pytest.approx(1)
    assert scores["righthand"].ap == 0
    assert scores["hand"].ap == pytest.approx(
        0.1
    )  # OKS is 0.5, which reaches one of ten thresholds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": []}, "there are no keypoints"),
        ({"keypoints": ["nose", "nose", "left_ear", "right_ear"]}, "keypoint name is repeated"),
        ({"sigmas": [0.1]}, "there are 4 keypoints but 1 sigmas"),
        ({"sigmas": [0.1, 0.1, 0.0, 0.1]}, "not above 0"),
        ({"bones": [["nose", "paw"]]}, r"\['paw'\], which is not a keypoint"),
        ({"bones": [["nose"]]}, "lists of pairs"),
        ({"flip_pairs": [["nose", "tail"], ["tail", "left_ear"]]}, "in two pairs"),
        ({"parts": {"head": 3}}, "3 keypoints in total instead of 4"),
        ({"parts": {"fox": 3, "tail": 1}}, "the name 'fox' of the whole skeleton"),
        ({"grouping_order": ["nose"]}, "each keypoint once"),
        ({"name": "body"}, "name of an official skeleton"),
        ({"keypoints": ["nose", "left_ear", "mouth", "tail"], "flip_pairs": None}, "as flip_pairs"),
        ({"keypoints": ["nose", "left_ear", False, "tail"]}, "False, which is not a string"),
        ({"sigmas": None}, "has no sigmas"),
    ],
)
def test_an_inconsistent_definition_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        make_custom_skeleton(**FOX | change)


def test_a_checkpoint_contains_its_skeleton_and_input_size(tmp_path):
    network = PoseNetwork("hrnet_w18_small", make_custom_skeleton(**FOX), input_size=192)
    write_checkpoint(tmp_path / "fox.ckpt", network)
    assert read_checkpoint(tmp_path / "fox.ckpt").spec == network.spec
    predictor = Predictor(tmp_path / "fox.ckpt", device="cpu")
    assert (predictor.skeleton, predictor.input_size) == (network.skeleton, 192)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_mmpose_checkpoint_contains_a_custom_skeleton(tmp_path, suffix):
    network = PoseNetwork("hrnet_w18_small", make_custom_skeleton(**FOX), input_size=192)
    write_mmpose_checkpoint(tmp_path / f"fox.{suffix}", network)
    assert read_checkpoint(tmp_path / f"fox.{suffix}").spec == network.spec


@pytest.mark.parametrize("spec", [{}, {"skeleton": {"name": "x", "legs": 4}}, {"skeleton": "owl"}])
def test_a_checkpoint_with_an_invalid_spec_is_an_error(tmp_path, spec):
    torch.save({"state_dict": {}, "network": spec}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"x\.ckpt: "):
        read_checkpoint(tmp_path / "x.ckpt")


HAND = """# One hand of a person.
_target_: tagpose.skeletons.custom.make_custom_skeleton
name: hand
keypoints: {keypoints}
sigmas: {sigmas}
flip_pairs: []
bones: {bones}
parts: {{palm: 1, fingers: 20}}
"""


@pytest.fixture
def hands(people, tmp_path):
    """Create a folder with a dataset of left hands and the YAML file of their skeleton."""
    part = WHOLEBODY.parts["lefthand"]
    names = list(WHOLEBODY.keypoints[part])
    bones = [(a, b) for a, b in WHOLEBODY.bones if part.start <= min(a, b) and b < part.stop]
    bones = [[WHOLEBODY.keypoints[a], WHOLEBODY.keypoints[b]] for a, b in bones]
    (tmp_path / "conf/skeleton").mkdir(parents=True)
    text = HAND.format(keypoints=names, sigmas=list(WHOLEBODY.sigmas[part]), bones=bones)
    (tmp_path / "conf/skeleton/hand.yaml").write_text(text)
    for split in ("train", "val"):
        (tmp_path / f"{split}2017").symlink_to(people / f"{split}2017")
        file = people / f"annotations/coco_wholebody_{split}_v1.0.json"
        content = json.loads(file.read_text())
        content["categories"][0]["keypoints"] = names
        for annotation in content["annotations"]:
            annotation["keypoints"] = annotation["lefthand_kpts"]
        (tmp_path / f"hands_{split}.json").write_text(json.dumps(content))
    return tmp_path


def test_a_custom_skeleton_can_be_trained_evaluated_and_predicted(hands):
    data = (
        "skeleton=hand", "data=synthetic", "data.root=.", "data.num_workers=0",
        "data.train=[hands_train.json,train2017]", "data.val=[hands_val.json,val2017]",
    )  # fmt: skip
    trained = run(
        "train", "--config-dir=conf", "experiment=demo_pretrain", *data, "input_size=64",
        "logger=csv", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1",
        "hydra.run.dir=run", cwd=hands,
    )  # fmt: skip
    succeeded(trained)
    evaluated = run("evaluate", "checkpoint=run/best.ckpt", *data[1:], "output=scored", cwd=hands)
    assert all(part in succeeded(evaluated).stdout for part in ("palm", "fingers", "hand"))
    result = Predictor(hands / "run/best.ckpt", device="cpu")(np.zeros((80, 60, 3), np.uint8))
    assert result.keypoints.shape[1:] == (21, 3)
    assert set(result.part_confidences) == {"palm", "fingers"}
