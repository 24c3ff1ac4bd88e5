"""The front door: any picture in, typed people out, whatever comes beside it."""

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
    """One that finds somebody: any network will do for laws."""
    torch.manual_seed(3)
    network = PoseNetwork("hrnet_w18_small", BODY, input_size=64, tag_init_std=0.5).eval()
    torch.nn.init.normal_(network.head.weight[: BODY.size], std=0.05)
    file = tmp_path_factory.mktemp("network") / "best.ckpt"
    write_checkpoint(file, network)
    return Predictor(file, device="cpu", batch_size=3)


def images(*shapes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]


def same(one, other):
    """The same people, but for the rounding of another batch, which may tip what is unsure."""
    return one.size == other.size and one.scores[:9] == pytest.approx(other.scores[:9], abs=1e-4)


def test_one_image_gives_its_people_and_a_list_those_of_each(predictor):
    some = images((60, 90), (90, 60), (64, 64), (60, 90), (33, 64))
    every = predictor(some)
    assert len(every) == len(some)
    for image, people in zip(some, every, strict=True):
        assert people.size == image.shape[1::-1]
        assert same(people, predictor(image))
        assert same(people, predictor(Image.fromarray(image)))
    assert predictor([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (50, 10000), (400, 3)])
def test_very_small_and_very_long_images_have_people_or_none(predictor, shape):
    assert predictor(np.zeros((*shape, 3), np.uint8)).size == shape[::-1]


def test_an_image_that_no_input_can_show_is_one_sentence(predictor):
    with pytest.raises(ValueError, match="too narrow to process"):
        predictor(np.zeros((1, 99999, 3), np.uint8))


def test_what_cannot_be_read_comes_in_its_turn_and_the_others_go_on(predictor, tmp_path):
    (image,) = images((60, 90))
    missing, cut, narrow = (tmp_path / f"{name}.png" for name in ("missing", "cut", "narrow"))
    cut.write_bytes(b"no picture")
    Image.new("RGB", (1, 99999)).save(narrow)
    sources = [image, missing, cut, narrow, b"no picture", image]
    seen = list(predictor.predict_iter(iter(sources)))
    assert [one.source is source for one, source in zip(seen, sources, strict=True)] == 6 * [True]
    assert [one.error is None for one in seen] == [True, False, False, False, False, True]
    assert same(seen[0].result, seen[5].result)
    for one in seen[1:4]:
        assert str(one.source) in str(one.error)
    with pytest.raises(FileNotFoundError, match="is missing"):
        predictor(sources)


def test_people_by_the_official_rows_are_the_people(predictor):
    (image,) = images((60, 90))
    people = predictor(image)
    back = from_coco_results(people.to_coco(7), BODY)[7]
    assert back.keypoints == pytest.approx(people.keypoints, abs=1e-3)
    assert back.scores == pytest.approx(people.scores)


def test_what_is_found_is_plain_json_above_its_thresholds(predictor):
    (image,) = images((60, 90))
    every = predictor(image)
    assert len(every.scores) > 1
    some = predictor(image, min_person_score=float(every.scores[0]), min_keypoint_score=0.2)
    assert len(some.scores) == 1
    said = json.loads(json.dumps(some.to_dict()))
    (person,) = said["people"]
    assert (said["width"], said["height"]) == (90, 60)
    assert set(person) == {"score", "box", "parts", "keypoints"}
    assert all(score >= 0.2 for _, _, score in person["keypoints"].values())
    assert len(person["keypoints"]) == (some.keypoints[..., 2] > 0).sum()


def test_boxes_and_part_scores_are_of_the_keypoints_that_are_there():
    keypoints = np.zeros((2, BODY.size, 3), np.float32)
    keypoints[0, :2] = (10, 20, 0.5), (14, 50, 0.35)
    one = make_pose_result(Poses(keypoints, np.float32([0.05, 0])), (99, 99), BODY)
    assert one.boxes.tolist() == [[10, 20, 4, 30], [0, 0, 0, 0]]
    assert one.part_confidences["body"] == pytest.approx([0.05, 0])


def test_scores_of_a_part_are_the_same_whatever_is_kept_of_its_keypoints():
    keypoints = np.random.default_rng(0).random((3, WHOLEBODY.size, 3), np.float32)
    people = Poses(keypoints, np.ones(3, np.float32))
    every, few = (
        make_pose_result(people, (99, 99), WHOLEBODY, min_keypoint_score=least)
        for least in (0, 0.7)
    )
    assert (few.keypoints[..., 2] == 0).sum() > (every.keypoints[..., 2] == 0).sum()
    for part in WHOLEBODY.disjoint_parts:
        assert few.part_confidences[part] == pytest.approx(every.part_confidences[part])


def test_thresholds_of_the_decoder_are_arguments(predictor):
    (image,) = images((60, 90))
    few = Predictor(predictor.network, device="cpu", max_people=1)
    assert len(few(image).scores) == 1
