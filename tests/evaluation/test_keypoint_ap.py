"""The laws of the evaluation, and its agreement with the metric's own definition."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

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
from tagpose.evaluation.keypoint_ap import PartScores, evaluate_parts, evaluate_results
from tagpose.evaluation.predictions import Predictions, part_ranking_scores
from tagpose.evaluation.score_tables import score_table, scores_to_dict
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.structures import Poses

K = WHOLEBODY.size


def annotated(rng, images=6, people=4):
    """Ground truth with crowds, people without labels in some or all parts, and float v."""
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


def everybody(ground_truth, noise=0.0, rng=None):
    """Poses where the ground truth has them, moved by noise in units of the square root of the area."""
    found = {}
    for n, image_id in enumerate(ground_truth.image_ids.tolist()):
        keypoints = ground_truth.keypoints[ground_truth.image == n].copy()
        keypoints[..., 2] = 1
        if noise:
            spread = noise * np.sqrt(ground_truth.areas[ground_truth.image == n])[:, None, None]
            keypoints[..., :2] += spread * rng.standard_normal(keypoints[..., :2].shape)
        found[image_id] = Poses(keypoints, np.linspace(0.9, 0.5, len(keypoints)))
    return found


def guesses(ground_truth, rng, most=30):
    """Good and bad people, up to `most` an image, with equal scores and parts without score."""
    found = {}
    for image_id, people in everybody(ground_truth, 0.02, rng).items():
        stray = rng.uniform(0, 400, (1, K, 3))
        pick = rng.integers(0, len(people.scores) + 1, rng.integers(0, most))
        keypoints = np.concatenate([people.keypoints, stray])[pick]
        keypoints[..., :2] += rng.choice([0, 1, 3, 60], len(pick))[:, None, None]
        for at in WHOLEBODY.disjoint_parts.values():
            keypoints[rng.random(len(pick)) < 0.1, at, 2] = 0
        found[image_id] = Poses(keypoints, rng.integers(1, 30, len(pick)) / 30)
    return found


@pytest.fixture
def ground_truth():
    """Everybody is there, labelled and of medium or large size."""
    drawn = annotated(np.random.default_rng(0))
    drawn.keypoints[..., 2] = 2
    areas = np.resize([40.0**2, 120.0**2], len(drawn.areas))
    return drawn._replace(crowd=np.zeros_like(drawn.crowd), areas=areas)


def test_perfect_prediction_scores_one_everywhere_and_a_lost_hand_only_there(ground_truth):
    found = everybody(ground_truth)
    areas = {
        n: ground_truth.areas[ground_truth.image == i]
        for i, n in enumerate(ground_truth.image_ids.tolist())
    }
    for scores in evaluate_parts(
        ground_truth, found, WHOLEBODY, NO_EXTRAS._replace(areas=areas)
    ).values():
        assert list(scores) == pytest.approx([1] * 10)
    for people in found.values():
        people.keypoints[:, WHOLEBODY.parts["lefthand"], :2] += 500
    scores = evaluate_parts(ground_truth, found, WHOLEBODY)
    assert scores["lefthand"].ap == 0
    assert 0 < scores["wholebody"].ap < 1
    assert scores["hand"].ap == pytest.approx(0.5)
    assert all(scores[n].ap == pytest.approx(1) for n in ("body", "foot", "face", "righthand"))


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    ground_truth = annotated(rng)
    found = guesses(ground_truth, rng)
    rows = [row for n, people in found.items() for row in to_coco_results(n, people, WHOLEBODY)]
    for row in rows:  # of equal scores the first one counts
        row |= {key: rng.random() for key in row if key.endswith("score")}
    shuffled = [rows[n] for n in rng.permutation(len(rows))]
    assert evaluate_results(ground_truth, shuffled, WHOLEBODY) == evaluate_results(
        ground_truth, rows, WHOLEBODY
    )


def test_an_empty_result_scores_zero_and_an_empty_ground_truth_minus_one(ground_truth):
    nobody = Poses(np.zeros((0, K, 3)), np.zeros(0))
    for found in ({}, dict.fromkeys(ground_truth.image_ids.tolist(), nobody)):
        assert set(evaluate_parts(ground_truth, found, WHOLEBODY).values()) == {
            PartScores(*[0.0] * 10)
        }
    crowds = ground_truth._replace(crowd=np.ones_like(ground_truth.crowd))
    scores = evaluate_parts(crowds, everybody(ground_truth), WHOLEBODY)
    assert set(scores.values()) == {PartScores(*[-1.0] * 10)}


def test_the_hand_is_the_hand_that_the_ground_truth_has(ground_truth):
    ground_truth.keypoints[:, WHOLEBODY.parts["lefthand"], 2] = 0
    scores = evaluate_parts(
        ground_truth, everybody(ground_truth, 0.03, np.random.default_rng(0)), WHOLEBODY
    )
    assert scores["lefthand"].ap == -1
    assert scores["hand"] == scores["righthand"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_image_and_row(ground_truth, value):
    found = everybody(ground_truth)
    image_id = ground_truth.image_ids[ground_truth.image[-1]].item()
    rows = to_coco_results(image_id, found[image_id], WHOLEBODY)
    rows[1]["face_kpts"][4] = value
    found[image_id].keypoints[1, 50, 0] = value
    for scored in (
        lambda: evaluate_parts(ground_truth, found, WHOLEBODY),
        lambda: to_coco_results(image_id, found[image_id], WHOLEBODY),
        lambda: from_coco_results(rows, WHOLEBODY),
    ):
        with pytest.raises(ValueError, match=rf"image {image_id}, row 1: .* not finite"):
            scored()


def test_people_in_an_image_that_the_ground_truth_does_not_have_are_an_error(ground_truth):
    with pytest.raises(ValueError, match="image 12345, which the ground truth does not have"):
        evaluate_parts(ground_truth, everybody(ground_truth) | {12345: None}, WHOLEBODY)


@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY], ids=lambda skeleton: skeleton.name)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), count=st.integers(0, 4))
def test_what_rows_say_comes_back_as_people(skeleton, seed, count, tmp_path_factory):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-99, 999, (count, skeleton.size, 3)).astype(np.float32)
    keypoints[..., 2] = rng.random((count, skeleton.size)) * rng.choice([0, 1e-9, 1])
    people = Poses(keypoints, rng.random(count).astype(np.float32))
    file = tmp_path_factory.mktemp("rows") / "new" / "results.json"
    write_results(file, to_coco_results(7, people, skeleton))
    back = from_coco_results(read_results(file), skeleton).get(
        7, Poses(keypoints[:0], people.scores[:0])
    )
    assert back.keypoints == pytest.approx(keypoints, abs=6e-4)
    assert np.array_equal(back.keypoints[..., 2] > 0, keypoints[..., 2] > 0)
    assert np.array_equal(back.scores, people.scores)
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
def test_a_bad_row_is_refused_in_a_sentence(ground_truth, change, message):
    rows = to_coco_results(
        3, everybody(ground_truth)[ground_truth.image_ids[ground_truth.image[0]].item()], WHOLEBODY
    )
    with pytest.raises(ValueError, match=message):
        from_coco_results([rows[0] | change], WHOLEBODY)
    with pytest.raises(ValueError, match="row 0 has no 'score'"):
        from_coco_results([{"image_id": 1}], WHOLEBODY)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"foot_score": "high"}, "row 0: the scores of parts"),
        ({"face_score": float("nan")}, "row 0: the scores of parts"),
        ({"bbox": [1, 2, 3]}, "row 0: the bbox"),
        ({"bbox": 5}, "row 0: the bbox"),
    ],
)
def test_a_bad_claim_is_refused_in_a_sentence(ground_truth, claim, message):
    rows = to_coco_results(
        3, everybody(ground_truth)[ground_truth.image_ids[ground_truth.image[0]].item()], WHOLEBODY
    )
    with pytest.raises(ValueError, match=message):
        read_extras([rows[0] | claim], WHOLEBODY)


def test_the_ground_truth_is_read_as_it_was_written_and_a_part_of_it_can_be_selected(
    tmp_path, ground_truth
):
    file = tmp_path / "ground_truth.json"
    file.write_text(json.dumps(official.to_annotation_file(ground_truth)))
    for read, written in zip(
        read_ground_truth(file, WHOLEBODY)[:-1], ground_truth[:-1], strict=True
    ):
        assert np.array_equal(read, written)
    half = select_images(ground_truth, ground_truth.image_ids[::2].tolist())
    assert np.array_equal(half.image_ids, ground_truth.image_ids[::2])
    kept = ground_truth.image % 2 == 0
    assert np.array_equal(half.image, ground_truth.image[kept] // 2)
    assert np.array_equal(half.keypoints, ground_truth.keypoints[kept])
    with pytest.raises(ValueError, match="no image 12345"):
        select_images(ground_truth, [12345])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no whole JSON file"),
        ("[]", "has no list of images"),
        (
            '{"images": [], "annotations": [{"id": 5, "iscrowd": 0}]}',
            "annotation 5 has no image_id",
        ),
        ('{"images": [], "annotations": [{"image_id": 1, "iscrowd": 2}]}', "has the iscrowd 2"),
    ],
)
def test_a_bad_ground_truth_is_refused_in_a_sentence(tmp_path, content, message):
    file = tmp_path / "ground_truth.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=f"ground_truth.json:? .*{message}"):
        read_ground_truth(file, WHOLEBODY)


def test_a_repeated_image_counts_once(ground_truth):
    predictions = Predictions()
    for image_id, people in [*everybody(ground_truth).items(), *everybody(ground_truth).items()]:
        predictions.update(image_id, people)
    predictions.gather()
    assert evaluate_parts(ground_truth, predictions.compute(), WHOLEBODY)[
        "body"
    ].ap == pytest.approx(1)
    predictions.reset()
    assert predictions.compute() == {}


# a process of its own: the first of the two finds nothing
RANK = """
import sys
import numpy as np
from tagpose.evaluation.predictions import Predictions
from tagpose.structures import Poses
from torch import distributed

rank = int(sys.argv[1])
distributed.init_process_group("gloo", f"file://{sys.argv[2]}", rank=rank, world_size=2)
predictions = Predictions()
for image_id in range(3 * rank):
    predictions.update(image_id, Poses(np.ones((image_id, 17, 3)), np.ones(image_id)))
predictions.gather()
distributed.destroy_process_group()
print({image_id: len(people.scores) for image_id, people in predictions.compute().items()})
"""


def test_processes_share_what_they_found_even_if_one_found_nothing(tmp_path):
    command = [sys.executable, "-c", RANK]
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        for process in both:
            assert process.communicate(timeout=120)[0] == b"{0: 0, 1: 1, 2: 2}\n"
    finally:
        for process in both:
            process.kill()


def test_the_table_shows_every_part_and_no_number_where_nobody_is():
    scores = {"body": PartScores(*[0.5] * 10), "lefthand": PartScores(*[-1.0] * 10)}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(score_table(scores, "stage two"))
    assert all(text in capture.get() for text in ("stage two", "0.500", "left hand", "-"))
    assert scores_to_dict(scores)["lefthand"] == dict.fromkeys(PartScores._fields, -1.0)


SEEDS = [pytest.param(seed, marks=() if seed < 3 else pytest.mark.slow) for seed in range(8)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("claims", ["nothing", "boxes", "part scores", "both"])
def test_random_results_score_as_officially(seed, claims):
    rng = np.random.default_rng(seed)
    ground_truth = annotated(rng)
    found = guesses(ground_truth, rng)
    rows = [row for n, people in found.items() for row in to_coco_results(n, people, WHOLEBODY)]
    for row in rows:
        if claims in ("boxes", "both"):
            row["bbox"] = rng.uniform(20, 150, 4).tolist()
        if claims in ("part scores", "both"):
            of = {part: rng.integers(1, 9) / 9 for part in WHOLEBODY.parts}
            row |= {f"{part}_score": score for part, score in of.items()}
    ours = evaluate_results(ground_truth, rows, WHOLEBODY)
    for part, expected in official.evaluate(*official.load(ground_truth, rows)).items():
        assert list(ours[part]) == pytest.approx(list(expected), abs=1e-6), part


def test_parts_may_be_ranked_by_scores_of_their_own_and_the_whole_stays_as_it_is():
    keypoints = np.zeros((2, WHOLEBODY.size, 3), np.float32)
    keypoints[0, :, 2], keypoints[1, WHOLEBODY.parts["foot"], 2] = 0.4, 0.9
    people = Poses(keypoints, np.array([0.36, 0.16], np.float32))
    as_person, per_part_scores = (
        to_coco_results(7, people, WHOLEBODY, per_part_scores=per_part_scores)
        for per_part_scores in (False, True)
    )
    assert [row["foot_score"] for row in as_person] == pytest.approx([0.36, 0.16])
    assert [row["foot_score"] for row in per_part_scores] == pytest.approx([0.4 * 0.6, 0.9 * 0.4])
    assert [row["score"] for row in per_part_scores] == pytest.approx([0.4 * 0.6, 0])  # the body's
    assert [row["wholebody_score"] for row in per_part_scores] == pytest.approx([0.36, 0.16])


def test_the_whole_is_ranked_by_its_person_in_any_skeleton():
    people = Poses(np.ones((2, BODY.size, 3), np.float32), np.array([0.3, 0.5], np.float32))
    assert part_ranking_scores(people, BODY)[:, 0] == pytest.approx([0.3, 0.5])
