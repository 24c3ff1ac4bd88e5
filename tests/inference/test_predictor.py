"""Predictor accepts images in any form, and returns typed results above thresholds."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tagpose import Predictor
from tagpose.evaluation.coco_results import from_coco_results
from tagpose.inference.results import make_pose_result
from tagpose.models.checkpoint import write_checkpoint
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.structures import Poses


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A predictor with an untrained network that detects people."""
    torch.manual_seed(3)
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64, tag_init_std=0.5).eval()
    torch.nn.init.normal_(network.head.weight[: BODY.size], std=0.05)
    file = tmp_path_factory.mktemp("network") / "best.ckpt"
    write_checkpoint(file, network)
    return Predictor(file, device="cpu", batch_size=3)


def make_images(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]


def are_equal(first, second):
    """Compare the best people; the rounding of another batch size can change weak ones."""
    return first.size == second.size and first.scores[:9] == pytest.approx(
        second.scores[:9], abs=1e-4
    )


def test_a_list_has_the_same_results_as_single_images(predictor):
    images = make_images((60, 90), (90, 60), (64, 64), (60, 90), (33, 64))
    results = predictor(images)
    assert len(results) == len(images)
    for image, result in zip(images, results, strict=True):
        assert result.size == image.shape[1::-1]
        assert are_equal(result, predictor(image))
        assert are_equal(result, predictor(Image.fromarray(image)))
    assert predictor([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (50, 10000), (400, 3)])
def test_very_small_and_very_long_images_have_a_result(predictor, shape):
    assert predictor(np.zeros((*shape, 3), np.uint8)).size == shape[::-1]


def test_an_extreme_aspect_ratio_is_an_error(predictor):
    with pytest.raises(ValueError, match="too narrow to process"):
        predictor(np.zeros((1, 99999, 3), np.uint8))


def test_unreadable_images_have_an_error_in_order_and_do_not_stop_prediction(predictor, tmp_path):
    (image,) = make_images((60, 90))
    missing, cut, narrow = (tmp_path / f"{name}.png" for name in ("missing", "cut", "narrow"))
    cut.write_bytes(b"no picture")
    Image.new("RGB", (1, 99999)).save(narrow)
    sources = [image, missing, cut, narrow, b"no picture", image]
    results = list(predictor.predict_iter(iter(sources)))
    assert all(r.source is source for r, source in zip(results, sources, strict=True))
    assert [r.error is None for r in results] == [True, False, False, False, False, True]
    assert are_equal(results[0].result, results[5].result)
    for result in results[1:4]:
        assert str(result.source) in str(result.error)
    with pytest.raises(FileNotFoundError, match="is missing"):
        predictor(sources)


def test_coco_results_convert_back_to_the_same_poses(predictor):
    (image,) = make_images((60, 90))
    result = predictor(image)
    restored = from_coco_results(result.to_coco(7), BODY)[7]
    assert restored.keypoints == pytest.approx(result.keypoints, abs=1e-3)
    assert restored.scores == pytest.approx(result.scores)


def test_results_above_thresholds_convert_to_json(predictor):
    (image,) = make_images((60, 90))
    unfiltered = predictor(image)
    assert len(unfiltered.scores) > 1
    best_score = float(unfiltered.scores[0])
    result = predictor(image, min_person_score=best_score, min_keypoint_score=0.2)
    assert len(result.scores) == 1
    content = json.loads(json.dumps(result.to_dict()))
    (person,) = content["people"]
    assert (content["width"], content["height"]) == (90, 60)
    assert set(person) == {"score", "box", "parts", "keypoints"}
    assert all(score >= 0.2 for _, _, score in person["keypoints"].values())
    assert len(person["keypoints"]) == (result.keypoints[..., 2] > 0).sum()


def test_boxes_enclose_present_keypoints_and_confidences_average_all_keypoints():
    keypoints = np.zeros((2, BODY.size, 3), np.float32)
    keypoints[0, :2] = (10, 20, 0.5), (14, 50, 0.35)
    result = make_pose_result(Poses(keypoints, np.float32([0.05, 0])), (99, 99), BODY)
    assert result.boxes.tolist() == [[10, 20, 4, 30], [0, 0, 0, 0]]
    assert result.part_confidences["body"] == pytest.approx([0.05, 0])


def test_part_confidences_do_not_depend_on_the_keypoint_threshold():
    keypoints = np.random.default_rng(0).random((3, WHOLEBODY.size, 3), np.float32)
    poses = Poses(keypoints, np.ones(3, np.float32))
    unfiltered, filtered = (
        make_pose_result(poses, (99, 99), WHOLEBODY, min_keypoint_score=threshold)
        for threshold in (0, 0.7)
    )
    assert (filtered.keypoints[..., 2] == 0).sum() > (unfiltered.keypoints[..., 2] == 0).sum()
    for part in WHOLEBODY.disjoint_parts:
        confidences = unfiltered.part_confidences[part]
        assert filtered.part_confidences[part] == pytest.approx(confidences)


def test_decoder_options_are_arguments(predictor):
    (image,) = make_images((60, 90))
    limited = Predictor(predictor.network, device="cpu", max_people=1)
    assert len(limited(image).scores) == 1
