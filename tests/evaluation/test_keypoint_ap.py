"""Laws of the evaluation, and its agreement with xtcocotools."""

import json
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import distributed

from helpers import xtcocotools_reference as official
from tagpose.evaluation.coco_results import (
    NO_EXTRAS,
    from_coco_results,
    read_extras,
    read_results,
    to_coco_results,
    write_results,
)
from tagpose.evaluation.ground_truth import GroundTruth, read_ground_truth, select_images
from tagpose.evaluation.keypoint_ap import (
    PartScores,
    evaluate_parts,
    evaluate_results,
    scores_to_dict,
)
from tagpose.evaluation.predictions import Predictions, part_ranking_scores
from tagpose.evaluation.score_tables import score_table
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.structures import Poses

K = WHOLEBODY.size


def make_ground_truth(rng, images=6, people=4):
    """Return crowds, people without labels in some or all parts, and float v."""
    image = np.sort(rng.integers(0, images, images * people))
    size = rng.uniform(20, 200, (len(image), 1))
    corner = rng.uniform(0, 300, (len(image), 2))
    keypoints = np.zeros((len(image), K, 3))
    keypoints[..., :2] = corner[:, None] + size[..., None] * rng.random((len(image), K, 2))
    keypoints[..., 2] = rng.choice([0, 0.01, 1, 2], (len(image), K))
    for at in WHOLEBODY.disjoint_parts.values():
        keypoints[rng.random(len(image)) < 0.25, at, 2] = 0
    keypoints[rng.random(len(image)) < 0.1, :, 2] = 0
    boxes = np.c_[corner, size, size]
    crowd = rng.random(len(image)) < 0.1
    image_ids = np.cumsum(rng.integers(1, 9, images))
    return GroundTruth(image_ids, image, keypoints, 0.6 * size[:, 0] ** 2, boxes, crowd)


def perfect_predictions(ground_truth, noise=0.0, rng=None):
    """Return all people, moved by noise in units of the square root of the area."""
    predictions = {}
    for n, image_id in enumerate(ground_truth.image_ids.tolist()):
        keypoints = ground_truth.keypoints[ground_truth.image == n].copy()
        keypoints[..., 2] = 1
        if noise:
            spread = noise * np.sqrt(ground_truth.areas[ground_truth.image == n])[:, None, None]
            keypoints[..., :2] += spread * rng.standard_normal(keypoints[..., :2].shape)
        predictions[image_id] = Poses(keypoints, np.linspace(0.9, 0.5, len(keypoints)))
    return predictions


def random_predictions(ground_truth, rng, max_people=30):
    """Return good and bad people per image, with equal scores and parts without scores."""
    predictions = {}
    for image_id, people in perfect_predictions(ground_truth, 0.02, rng).items():
        false_positive = rng.uniform(0, 400, (1, K, 3))
        index = rng.integers(0, len(people.scores) + 1, rng.integers(0, max_people))
        keypoints = np.concatenate([people.keypoints, false_positive])[index]
        keypoints[..., :2] += rng.choice([0, 1, 3, 60], len(index))[:, None, None]
        for at in WHOLEBODY.disjoint_parts.values():
            keypoints[rng.random(len(index)) < 0.1, at, 2] = 0
        predictions[image_id] = Poses(keypoints, rng.integers(1, 30, len(index)) / 30)
    return predictions


def random_results(ground_truth, rng):
    """Return random predictions as result records."""
    predictions = random_predictions(ground_truth, rng).items()
    return [
        result
        for image_id, people in predictions
        for result in to_coco_results(image_id, people, WHOLEBODY)
    ]


def first_results(ground_truth):
    """Return the result records of the first image with people."""
    image_id = ground_truth.image_ids[ground_truth.image[0]].item()
    return to_coco_results(3, perfect_predictions(ground_truth)[image_id], WHOLEBODY)


@pytest.fixture
def ground_truth():
    """People of medium and large size, with all keypoints labeled and without crowds."""
    random = make_ground_truth(np.random.default_rng(0))
    random.keypoints[..., 2] = 2
    areas = np.resize([40.0**2, 120.0**2], len(random.areas))
    return random._replace(crowd=np.zeros_like(random.crowd), areas=areas)


def test_perfect_predictions_score_one_and_a_misplaced_hand_lowers_only_its_parts(ground_truth):
    predictions = perfect_predictions(ground_truth)
    areas = {
        n: ground_truth.areas[ground_truth.image == i]
        for i, n in enumerate(ground_truth.image_ids.tolist())
    }
    extras = NO_EXTRAS._replace(areas=areas)
    for scores in evaluate_parts(ground_truth, predictions, WHOLEBODY, extras).values():
        assert list(scores) == pytest.approx([1] * 10)
    for people in predictions.values():
        people.keypoints[:, WHOLEBODY.parts["lefthand"], :2] += 500
    scores = evaluate_parts(ground_truth, predictions, WHOLEBODY)
    assert scores["lefthand"].ap == 0
    assert 0 < scores["wholebody"].ap < 1
    assert scores["hand"].ap == pytest.approx(0.5)
    assert all(scores[p].ap == pytest.approx(1) for p in ("body", "foot", "face", "righthand"))


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_scores_do_not_depend_on_the_order_of_results(seed):
    rng = np.random.default_rng(seed)
    ground_truth = make_ground_truth(rng)
    results = random_results(ground_truth, rng)
    for result in results:  # the order decides between equal scores
        result |= {key: rng.random() for key in result if key.endswith("score")}
    shuffled = [results[n] for n in rng.permutation(len(results))]
    assert evaluate_results(ground_truth, shuffled, WHOLEBODY) == evaluate_results(
        ground_truth, results, WHOLEBODY
    )


def test_no_predictions_score_zero_and_no_ground_truth_minus_one(ground_truth):
    empty = Poses(np.zeros((0, K, 3)), np.zeros(0))
    for predictions in ({}, dict.fromkeys(ground_truth.image_ids.tolist(), empty)):
        scores = evaluate_parts(ground_truth, predictions, WHOLEBODY)
        assert set(scores.values()) == {PartScores(*[0.0] * 10)}
    crowds = ground_truth._replace(crowd=np.ones_like(ground_truth.crowd))
    scores = evaluate_parts(crowds, perfect_predictions(ground_truth), WHOLEBODY)
    assert set(scores.values()) == {PartScores(*[-1.0] * 10)}


def test_hand_is_the_only_hand_of_the_ground_truth(ground_truth):
    ground_truth.keypoints[:, WHOLEBODY.parts["lefthand"], 2] = 0
    scores = evaluate_parts(
        ground_truth, perfect_predictions(ground_truth, 0.03, np.random.default_rng(0)), WHOLEBODY
    )
    assert scores["lefthand"].ap == -1
    assert scores["hand"] == scores["righthand"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error_with_image_and_row(ground_truth, value):
    predictions = perfect_predictions(ground_truth)
    image_id = ground_truth.image_ids[ground_truth.image[-1]].item()
    results = to_coco_results(image_id, predictions[image_id], WHOLEBODY)
    results[1]["face_kpts"][4] = value
    predictions[image_id].keypoints[1, 50, 0] = value
    for evaluate in (
        lambda: evaluate_parts(ground_truth, predictions, WHOLEBODY),
        lambda: to_coco_results(image_id, predictions[image_id], WHOLEBODY),
        lambda: from_coco_results(results, WHOLEBODY),
    ):
        with pytest.raises(ValueError, match=rf"image {image_id}, row 1: .* not finite"):
            evaluate()


def test_predictions_for_an_image_without_ground_truth_are_an_error(ground_truth):
    with pytest.raises(ValueError, match="image 12345, which is not in the ground truth"):
        evaluate_parts(ground_truth, perfect_predictions(ground_truth) | {12345: None}, WHOLEBODY)


@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY], ids=lambda skeleton: skeleton.name)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), count=st.integers(0, 4))
def test_result_files_convert_back_to_the_same_poses(skeleton, seed, count, tmp_path_factory):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-99, 999, (count, skeleton.size, 3)).astype(np.float32)
    keypoints[..., 2] = rng.random((count, skeleton.size)) * rng.choice([0, 1e-9, 1])
    people = Poses(keypoints, rng.random(count).astype(np.float32))
    file = tmp_path_factory.mktemp("results") / "new" / "results.json"
    write_results(file, to_coco_results(7, people, skeleton))
    restored = from_coco_results(read_results(file), skeleton).get(
        7, Poses(keypoints[:0], people.scores[:0])
    )
    assert restored.keypoints == pytest.approx(keypoints, abs=6e-4)
    assert np.array_equal(restored.keypoints[..., 2] > 0, keypoints[..., 2] > 0)
    assert np.array_equal(restored.scores, people.scores)
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_results(tmp_path / "results.json", [{"score": 1}])
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path / "results.json", [{"score": np.nan}])
    assert read_results(tmp_path / "results.json") == [{"score": 1}]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face_kpts": [1.0]}, "keypoints"),
        ({"keypoints": ["a"] * 51}, "not a number"),
        ({"score": None}, "not finite"),
    ],
)
def test_an_invalid_result_is_an_error(ground_truth, change, message):
    results = first_results(ground_truth)
    with pytest.raises(ValueError, match=message):
        from_coco_results([results[0] | change], WHOLEBODY)
    with pytest.raises(ValueError, match="row 0 has no 'score'"):
        from_coco_results([{"image_id": 1}], WHOLEBODY)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"foot_score": "high"}, "row 0: the list of part scores"),
        ({"face_score": float("nan")}, "row 0: the list of part scores"),
        ({"bbox": [1, 2, 3]}, "row 0: the bbox"),
        ({"bbox": 5}, "row 0: the bbox"),
    ],
)
def test_an_invalid_box_or_part_score_is_an_error(ground_truth, extra, message):
    results = first_results(ground_truth)
    with pytest.raises(ValueError, match=message):
        read_extras([results[0] | extra], WHOLEBODY)


def test_ground_truth_survives_its_file_and_images_can_be_selected(tmp_path, ground_truth):
    file = tmp_path / "ground_truth.json"
    file.write_text(json.dumps(official.to_annotation_file(ground_truth)))
    for read, written in zip(
        read_ground_truth(file, WHOLEBODY)[:-2], ground_truth[:-2], strict=True
    ):
        assert np.array_equal(read, written)
    half = select_images(ground_truth, ground_truth.image_ids[::2].tolist())
    assert np.array_equal(half.image_ids, ground_truth.image_ids[::2])
    selected = ground_truth.image % 2 == 0
    assert np.array_equal(half.image, ground_truth.image[selected] // 2)
    assert np.array_equal(half.keypoints, ground_truth.keypoints[selected])
    with pytest.raises(ValueError, match="no image 12345"):
        select_images(ground_truth, [12345])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a valid JSON file"),
        ("[]", "has no list of images"),
        (
            '{"images": [], "annotations": [{"id": 5, "iscrowd": 0}]}',
            "annotation 5 has no image_id",
        ),
        ('{"images": [], "annotations": [{"image_id": 1, "iscrowd": 2}]}', "has the iscrowd 2"),
    ],
)
def test_invalid_annotations_are_an_error_with_the_file_name(tmp_path, content, message):
    file = tmp_path / "ground_truth.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=f"ground_truth.json:? .*{message}"):
        read_ground_truth(file, WHOLEBODY)


def test_a_repeated_image_counts_once(ground_truth):
    predictions = Predictions()
    for image_id, people in 2 * list(perfect_predictions(ground_truth).items()):
        predictions.update(image_id, people)
    predictions.gather()
    scores = evaluate_parts(ground_truth, predictions.compute(), WHOLEBODY)
    assert scores["body"].ap == pytest.approx(1)
    predictions.reset()
    assert predictions.compute() == {}


def gather_predictions(rank, folder):
    """Write the numbers of people that a process gathers; the first one has no predictions."""
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    predictions = Predictions()
    for image_id in range(3 * rank):
        predictions.update(image_id, Poses(np.ones((image_id, 17, 3)), np.ones(image_id)))
    predictions.gather()
    distributed.destroy_process_group()
    counts = {image_id: len(people.scores) for image_id, people in predictions.compute().items()}
    (folder / f"{rank}").write_text(str(counts))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads, in new Pythons
def test_processes_gather_their_predictions_even_if_one_has_none(tmp_path):
    processes = [
        get_context("fork").Process(target=gather_predictions, args=(rank, tmp_path), daemon=True)
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for rank, process in enumerate(processes):
        process.join(120)
        assert (tmp_path / f"{rank}").read_text() == "{0: 0, 1: 1, 2: 2}"


def test_the_table_has_a_dash_for_parts_without_ground_truth():
    scores = {"body": PartScores(*[0.5] * 10), "lefthand": PartScores(*[-1.0] * 10)}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(score_table(scores, "stage two"))
    assert all(text in capture.get() for text in ("stage two", "0.500", "left hand", "-"))
    assert scores_to_dict(scores)["lefthand"] == dict.fromkeys(PartScores._fields, -1.0)


SEEDS = [pytest.param(seed, marks=() if seed < 3 else pytest.mark.slow) for seed in range(8)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("extras", ["nothing", "boxes", "part scores", "both"])
def test_scores_of_random_results_equal_those_of_xtcocotools(seed, extras):
    if extras in ("boxes", "both") and not official.HAS_XTCOCOTOOLS:
        pytest.skip("xthotcoco ignores the boxes of results")
    rng = np.random.default_rng(seed)
    ground_truth = make_ground_truth(rng)
    results = random_results(ground_truth, rng)
    for result in results:
        if extras in ("boxes", "both"):
            result["bbox"] = rng.uniform(20, 150, 4).tolist()
        if extras in ("part scores", "both"):
            result |= {f"{part}_score": rng.integers(1, 9) / 9 for part in WHOLEBODY.parts}
    scores = evaluate_results(ground_truth, results, WHOLEBODY)
    for part, expected in official.evaluate(*official.load(ground_truth, results)).items():
        assert list(scores[part]) == pytest.approx(list(expected), abs=1e-6), part


def test_part_scores_change_the_ranking_of_parts_but_not_of_the_whole_body():
    keypoints = np.zeros((2, WHOLEBODY.size, 3), np.float32)
    keypoints[0, :, 2], keypoints[1, WHOLEBODY.parts["foot"], 2] = 0.4, 0.9
    people = Poses(keypoints, np.array([0.36, 0.16], np.float32))
    by_person, by_part = (
        to_coco_results(7, people, WHOLEBODY, per_part_scores=per_part_scores)
        for per_part_scores in (False, True)
    )
    assert [result["foot_score"] for result in by_person] == pytest.approx([0.36, 0.16])
    assert [result["foot_score"] for result in by_part] == pytest.approx([0.4 * 0.6, 0.9 * 0.4])
    assert [result["score"] for result in by_part] == pytest.approx([0.4 * 0.6, 0])  # of the body
    assert [result["wholebody_score"] for result in by_part] == pytest.approx([0.36, 0.16])


def test_a_skeleton_with_a_single_part_is_ranked_by_the_person_score():
    people = Poses(np.ones((2, BODY.size, 3), np.float32), np.array([0.3, 0.5], np.float32))
    assert part_ranking_scores(people, BODY)[:, 0] == pytest.approx([0.3, 0.5])
