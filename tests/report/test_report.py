"""The report's curves agree with AP, and every keypoint error has the correct type."""

import base64
import json
import math
import re
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.run_scripts import ROOT, run, succeeded
from tagpose.evaluation.coco_results import to_coco_results, write_results
from tagpose.evaluation.ground_truth import GroundTruth, read_ground_truth
from tagpose.evaluation.keypoint_ap import compute_part_curves, evaluate_parts
from tagpose.evaluation.matching import pair_with_ground_truth
from tagpose.report.analysis import analyze_results, name_results
from tagpose.report.charts import make_error_type_bars, make_pr_curves
from tagpose.report.html_report import build_report, write_report
from tagpose.report.image_cards import ImageRenderer, find_image_files, top_indices
from tagpose.report.keypoint_errors import (
    ErrorType,
    classify_keypoints,
    count_error_types,
    count_image_errors,
)
from tagpose.report.person_matches import find_best_f1_score, match_people
from tagpose.report.result_tables import describe_score_limit, error_table, headline
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.structures import Poses

PARTS = list(WHOLEBODY.disjoint_parts)


def make_crowded_ground_truth(rng, skeleton=WHOLEBODY, images=6, people=4):
    """Return overlapping people with unlabeled keypoints and parts, one of them a crowd."""
    image = np.repeat(np.arange(images), people)
    keypoints = rng.uniform(0, 150, (len(image), skeleton.size, 3))
    keypoints[..., 2] = rng.choice([0, 1, 2], (len(image), skeleton.size))
    for at in skeleton.disjoint_parts.values():
        keypoints[rng.random(len(image)) < 0.2, at, 2] = 0
    boxes = np.tile([0.0, 0, 150, 150], (len(image), 1))
    areas, crowd = rng.uniform(50, 300, len(image)) ** 2, np.arange(len(image)) == 1
    return GroundTruth(np.arange(1, images + 1), image, keypoints, areas, boxes, crowd)


def make_separated_ground_truth(people=3):
    """Return people of one image with all keypoints labeled and far from each other."""
    side = math.ceil(math.sqrt(WHOLEBODY.size))
    grid = np.stack(np.divmod(np.arange(WHOLEBODY.size), side), 1) * 30.0
    keypoints = np.full((people, WHOLEBODY.size, 3), 2.0)
    keypoints[..., :2] = grid + 1000.0 * np.arange(people)[:, None, None]
    boxes = np.c_[keypoints[:, 0, :2], np.full((people, 2), 30.0 * side)]
    image, areas = np.zeros(people, int), np.full(people, 50.0**2)
    return GroundTruth(np.array([7]), image, keypoints, areas, boxes, np.zeros(people, bool))


def match_and_classify(ground_truth, predictions, skeleton=WHOLEBODY):
    """Return paired detections, matches and error types."""
    paired = pair_with_ground_truth(ground_truth, predictions, skeleton)
    matches = match_people(ground_truth, paired, skeleton)
    return paired, matches, classify_keypoints(ground_truth, paired.detections, matches, skeleton)


def displace(keypoints, similarity, ground_truth, rng):
    """Move keypoints [P, K, 3] in random directions to the distance of this similarity."""
    spread = np.sqrt(2 * ground_truth.areas[:, None]) * 2 * np.array(WHOLEBODY.sigmas)
    angle = rng.uniform(0, 2 * math.pi, spread.shape)
    distance = math.sqrt(-math.log(similarity)) * spread
    offset = [distance * np.cos(angle), distance * np.sin(angle), 0 * distance]
    return keypoints + np.stack(offset, -1)


def add_error(error_type, part, keypoints, ground_truth, rng):
    """Give the keypoints [P, K, 3] of one part errors of one type."""
    changed, at = keypoints.copy(), WHOLEBODY.parts[part]
    near = displace(keypoints, 0.95, ground_truth, rng)
    changed[:, at] = {
        ErrorType.GOOD: near,
        ErrorType.JITTER: displace(keypoints, 0.7, ground_truth, rng),
        ErrorType.INVERSION: near[:, WHOLEBODY.flip_indices],
        ErrorType.SWAP: np.roll(near, 1, axis=0),
        ErrorType.MISS: keypoints + np.array([500.0, 0, 0]),
    }[error_type][:, at]
    return changed


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("error_type", ErrorType)
def test_errors_of_one_part_are_classified_correctly_and_only_there(error_type, part):
    ground_truth, rng = make_separated_ground_truth(), np.random.default_rng(0)
    keypoints = add_error(error_type, part, ground_truth.keypoints, ground_truth, rng)
    predictions = {7: Poses(keypoints, np.array([0.9, 0.8, 0.7]))}
    _, matches, types = match_and_classify(ground_truth, predictions)
    assert matches.person.tolist() == [0, 1, 2]
    expected = np.zeros(WHOLEBODY.size)
    expected[WHOLEBODY.parts[part]] = error_type
    if error_type == ErrorType.INVERSION:  # keypoints in the middle have no counterpart
        expected[np.array(WHOLEBODY.flip_indices) == np.arange(WHOLEBODY.size)] = ErrorType.GOOD
    assert (types == expected).all()
    counts = count_error_types(types, WHOLEBODY)
    assert all(counts[other][1:].sum() == 0 for other in PARTS if other != part)


def classify_naively(point, k, person, ground_truth, skeleton):
    """Return the error type of one keypoint with a loop, as in the authors' code."""
    best, name = -1.0, ""
    for other in np.flatnonzero(ground_truth.image == ground_truth.image[person]):
        for j in (k, skeleton.flip_indices[k]):
            x, y, v = ground_truth.keypoints[other, j]
            squared = (point[0] - x) ** 2 + (point[1] - y) ** 2
            scale = 2 * ground_truth.areas[other] * (2 * skeleton.sigmas[j]) ** 2
            similarity = math.exp(-squared / scale) if v > 0 else 0
            is_correct = other == person and j == k  # takes precedence if similarities are equal
            if similarity > best or (similarity == best and is_correct):
                best = similarity
                name = "correct" if is_correct else "flipped" if other == person else "other"
    if best < 0.5:
        return ErrorType.MISS
    near = ErrorType.GOOD if best >= 0.85 else ErrorType.JITTER
    return {"correct": near, "flipped": ErrorType.INVERSION, "other": ErrorType.SWAP}[name]


@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("seed", range(3))
def test_error_types_in_a_crowd_are_those_of_the_naive_loop(skeleton, seed):
    rng = np.random.default_rng(seed)
    ground_truth = make_crowded_ground_truth(rng, skeleton)
    noise = rng.normal(0, 8, ground_truth.keypoints.shape) * [1, 1, 0]
    keypoints = np.where(ground_truth.keypoints[..., 2:] > 0, ground_truth.keypoints + noise, 1)
    predictions = {
        n + 1: Poses(keypoints[ground_truth.image == n], np.arange(4.0)) for n in range(6)
    }
    paired, matches, types = match_and_classify(ground_truth, predictions, skeleton)
    points = paired.detections.keypoints[matches.detection]
    for f, k in np.argwhere(ground_truth.keypoints[matches.person, :, 2] > 0):
        expected = classify_naively(points[f, k], k, matches.person[f], ground_truth, skeleton)
        assert types[f, k] == expected
    assert (types >= 0).sum() == (ground_truth.keypoints[matches.person, :, 2] > 0).sum()
    assert set(types.ravel().tolist()) == {-1, *ErrorType}


def test_without_flip_pairs_there_are_no_inversions(tmp_path):
    skeleton = BODY._replace(flip_indices=tuple(range(BODY.size)))
    ground_truth = make_separated_ground_truth()
    ground_truth = ground_truth._replace(keypoints=ground_truth.keypoints[:, : BODY.size])
    flipped = ground_truth.keypoints[:, BODY.flip_indices]
    flipped[:, :5] = ground_truth.keypoints[:, :5]  # a correct head is enough for a match
    file = tmp_path / "results.json"
    write_results(file, to_coco_results(7, Poses(flipped, np.ones(3)), skeleton))
    run = analyze_results("flipped", file, ground_truth, skeleton)
    assert count_error_types(run.error_types, skeleton)["body"].tolist() == [15, 0, 0, 0, 36]
    assert error_table(run, skeleton).rows[0][2 + ErrorType.INVERSION] == "-"
    (bar,) = make_error_type_bars([run], skeleton)
    assert [segment.error_type for segment in bar.segments] == ["good", "jitter", "swap", "miss"]


def test_crowds_are_neither_missed_people_nor_false_positives():
    ground_truth = make_separated_ground_truth(4)
    ground_truth = ground_truth._replace(crowd=np.array([False, False, False, True]))
    stray = ground_truth.keypoints[:1] + np.array([9000.0, 0, 0])
    keypoints = np.concatenate([ground_truth.keypoints[1:], stray])
    paired, matches, types = match_and_classify(ground_truth, {7: Poses(keypoints, np.arange(4.0))})
    assert matches.person.tolist() == [1, 2]
    assert np.flatnonzero(matches.missed).tolist() == [0]
    assert np.flatnonzero(matches.false_positive).tolist() == [3]
    errors = count_image_errors(ground_truth, paired.detections, matches, types)
    assert [counts.tolist() for counts in errors[:3]] == [[2], [1], [1]]
    assert errors.loss.tolist() == pytest.approx([2])
    limited = match_people(ground_truth, paired, WHOLEBODY, min_score=0.5)
    assert np.flatnonzero(limited.missed).tolist() == [0, 1]


def test_a_person_with_only_the_body_correct_is_matched():
    ground_truth = make_separated_ground_truth(1)
    keypoints = ground_truth.keypoints.copy()
    keypoints[:, BODY.size :, :2] += 500
    _, matches, types = match_and_classify(ground_truth, {7: Poses(keypoints, np.ones(1))})
    assert matches.oks.tolist() == pytest.approx([1 / len(PARTS)])
    assert (types[0] == ErrorType.MISS).sum() == WHOLEBODY.size - BODY.size


def compute_f1(ground_truth, predictions, min_score):
    """Return the F1 score at OKS 0.5 of predictions above a score, derived from AR50."""
    selected = {
        image: Poses(
            people.keypoints[people.scores >= min_score], people.scores[people.scores >= min_score]
        )
        for image, people in predictions.items()
    }
    num_people = len(ground_truth.image)
    num_predictions = sum(len(people.scores) for people in selected.values())
    recall = evaluate_parts(ground_truth, selected, BODY)["body"].ar50
    return 2 * recall * num_people / (num_predictions + num_people)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), steps=st.sampled_from([3, 1000]))
def test_no_score_threshold_has_a_better_f1_than_the_selected_one(seed, steps):
    rng = np.random.default_rng(seed)
    ground_truth = make_crowded_ground_truth(rng, BODY)
    labeled = ground_truth.keypoints * [1, 1, 0] + [0, 0, 2]
    ground_truth = ground_truth._replace(
        keypoints=labeled, crowd=np.zeros(len(ground_truth.image), bool)
    )
    predictions = {}
    for n in range(6):
        keypoints = labeled[ground_truth.image == n].repeat(3, axis=0)
        keypoints[..., :2] += rng.normal(0, 15, (*keypoints.shape[:2], 1)) * rng.random((12, 1, 1))
        # few steps yield many equal scores
        predictions[n + 1] = Poses(keypoints, rng.integers(0, steps, 12) / steps)
    scores = sorted({score for people in predictions.values() for score in people.scores.tolist()})
    f1 = [compute_f1(ground_truth, predictions, score) for score in scores]
    selected = find_best_f1_score(
        ground_truth, pair_with_ground_truth(ground_truth, predictions, BODY), BODY
    )
    assert f1[scores.index(selected)] == pytest.approx(max(f1))


def test_weak_predictions_count_in_ap_but_not_as_errors(tmp_path):
    ground_truth, rng = make_separated_ground_truth(2), np.random.default_rng(0)
    offsets = rng.uniform(2000, 9000, (18, 1, 1)) * [1, 1, 0]
    weak = ground_truth.keypoints[:1].repeat(18, axis=0) + offsets
    keypoints = np.concatenate([ground_truth.keypoints, weak])
    people = Poses(keypoints, np.r_[0.75, 0.5, rng.uniform(0.01, 0.1, 18)])
    file = tmp_path / "results.json"
    write_results(file, to_coco_results(7, people, WHOLEBODY))
    run = analyze_results("run", file, ground_truth, WHOLEBODY)
    assert run.min_score == 0.5
    assert run.errors.loss.tolist() == pytest.approx([0], abs=1e-6)
    assert dict(headline(run, ground_truth, WHOLEBODY))["false positives"] == "0"
    limit = "a score of at least 0.5 (the highest F1 score); the other 18 only contribute to AP"
    assert limit in describe_score_limit(run)
    unlimited = analyze_results("run", file, ground_truth, WHOLEBODY, min_score=-math.inf)
    assert unlimited.errors.false_positives.tolist() == [18]
    assert unlimited.scores == run.scores
    assert describe_score_limit(unlimited) == "predictions with any score"
    configured = analyze_results("run", file, ground_truth, WHOLEBODY, min_score=0.6)
    assert configured.errors.missed.tolist() == [1]
    assert "a score of at least 0.6 (as configured)" in describe_score_limit(configured)


def test_without_true_positives_all_predictions_are_analyzed(tmp_path):
    ground_truth = make_separated_ground_truth(1)
    write_results(
        tmp_path / "far.json",
        to_coco_results(7, Poses(ground_truth.keypoints + 500, np.ones(1)), WHOLEBODY),
    )
    write_results(tmp_path / "none.json", [])
    expected = "predictions with any score, because there are no true positives"
    for name, false_positives in (("far", 1), ("none", 0)):
        run = analyze_results(name, tmp_path / f"{name}.json", ground_truth, WHOLEBODY)
        assert run.errors.false_positives.tolist() == [false_positives]
        assert describe_score_limit(run) == expected


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["runs/w32.json"], ["w32"]),
        (["runs/w32/results.json"], ["w32/results"]),
        (["runs/w32/results.json", "runs/w48/results.json"], ["w32/results", "w48/results"]),
        (["old/w32.json", "new/w32.json"], ["old/w32", "new/w32"]),
        (["old/ground_truth.json", "w32.json"], ["old/ground_truth", "w32"]),
    ],
)
def test_generic_and_equal_file_names_are_extended_by_the_folder(files, names):
    assert name_results([Path(file) for file in files]) == names


def test_the_worst_images_are_first_and_images_without_loss_are_omitted():
    assert top_indices(np.array([0, 3.0, 1, 5, 0, 3]), 9) == [3, 1, 5, 2]
    assert top_indices(np.array([0, 3.0, 1, 5, 0, 3]), 2) == [3, 1]


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_mean_of_a_curve_is_the_ap(seed):
    rng = np.random.default_rng(seed)
    ground_truth = make_crowded_ground_truth(rng)
    predictions = {}
    for n in range(3):
        keypoints = ground_truth.keypoints[ground_truth.image == n].astype(np.float32)
        keypoints[..., :2] += rng.normal(0, 1, (4, 1, 1)) * rng.normal(0, 5, (4, WHOLEBODY.size, 2))
        predictions[n + 1] = Poses(keypoints, rng.random(4))
    curves = compute_part_curves(
        ground_truth, pair_with_ground_truth(ground_truth, predictions, WHOLEBODY), WHOLEBODY
    )
    scores = evaluate_parts(ground_truth, predictions, WHOLEBODY)
    assert curves.keys() == WHOLEBODY.parts.keys()
    for part, by_area in curves.items():
        pr_curves = make_pr_curves(by_area["all"])
        means = [curve.precision.mean() for curve in pr_curves]
        assert means == pytest.approx([scores[part].ap50, scores[part].ap75, scores[part].ap])
        assert all(len(curve.precision) == 101 for curve in pr_curves)


ARMS = slice(7, 11)  # elbows and wrists


def make_faulty_predictions(ground_truth, image, rng):
    """Return an image's people with jittered feet, missed faces, inverted hands, swapped arms."""
    keypoints = ground_truth.keypoints
    for error_type, part in (
        (ErrorType.JITTER, "foot"),
        (ErrorType.MISS, "face"),
        (ErrorType.INVERSION, "lefthand"),
        (ErrorType.INVERSION, "righthand"),
    ):
        at = WHOLEBODY.parts[part]
        keypoints = add_error(error_type, part, keypoints, ground_truth, rng)
        if error_type == ErrorType.INVERSION:  # use the original position of the other hand
            keypoints[:, at] = ground_truth.keypoints[:, WHOLEBODY.flip_indices][:, at]
    keypoints = keypoints[(ground_truth.image == image) & ~ground_truth.crowd]
    keypoints[:, ARMS] = np.roll(keypoints[:, ARMS], 1, axis=0)
    keypoints[..., 2] = 1
    return Poses(keypoints, np.ones(len(keypoints)))


@pytest.fixture(scope="module")
def results(people, tmp_path_factory):
    """Folder of results on synthetic people: one file with errors, one with every second person."""
    folder, rng = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    ground_truth = read_ground_truth(people / "annotations/coco_wholebody_val_v1.0.json", WHOLEBODY)
    rows = []
    for image, image_id in enumerate(ground_truth.image_ids.tolist()):
        predictions = make_faulty_predictions(ground_truth, image, rng)
        rows += to_coco_results(image_id, predictions, WHOLEBODY)
    write_results(folder / "faulty.json", rows)
    write_results(folder / "half.json", rows[::2])
    return folder


def test_errors_on_synthetic_people_are_those_that_were_introduced(people, results):
    ground_truth = read_ground_truth(people / "annotations/coco_wholebody_val_v1.0.json", WHOLEBODY)
    run = analyze_results("faulty", results / "faulty.json", ground_truth, WHOLEBODY)
    types, labeled = run.error_types, ground_truth.keypoints[run.matches.person, :, 2] > 0
    # an inversion can only be identified if the other hand is labeled
    both = labeled & labeled[:, WHOLEBODY.flip_indices]
    for part, error_type in (("foot", ErrorType.JITTER), ("face", ErrorType.MISS)):
        at = WHOLEBODY.parts[part]
        assert (types[:, at] == error_type).sum() > 0.9 * labeled[:, at].sum() > 0
    for part in ("lefthand", "righthand"):
        at = WHOLEBODY.parts[part]
        assert (types[:, at] == ErrorType.INVERSION).sum() == both[:, at].sum() > 0
    # people who are alone in their image have no swaps
    assert (types[:, ARMS] == ErrorType.SWAP).sum() > 0.4 * labeled[:, ARMS].sum() > 0
    assert not (types[:, ARMS] == ErrorType.INVERSION).any()
    assert (types[:, :7] == ErrorType.GOOD).sum() > 0.8 * labeled[:, :7].sum()
    half = analyze_results("half", results / "half.json", ground_truth, WHOLEBODY)
    assert half.matches.missed.sum() > 0.4 * len(run.matches.missed) > run.matches.missed.sum()


def test_the_report_is_self_contained_and_shows_both_files(people, results):
    ground_truth = people / "annotations/coco_wholebody_val_v1.0.json"
    process = run(
        "report", "results=faulty.json", "compare_with=half.json", f"ground_truth={ground_truth}",
        f"images={people}/val2017", "names=['<$faulty>', half]", "num_worst_images=2", "output=out",
        cwd=results,
    )  # fmt: skip
    assert "out/report.html" in succeeded(process).stdout
    page = (results / "out/report.html").read_text(encoding="utf-8")
    assert "&lt;$faulty&gt;" in page
    assert "<$faulty>" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert "@import" not in page
    assert page.count("data:image/jpeg") == 2 * 2 + 2 * 3
    assert page.count("<img") == page.count('alt="') == page.count("data:image/")
    for text in ("left hand", "inversion", "0.000", "half", "people missed"):
        assert text in page
    assert page.count("(the highest F1 score)") == 2 + 1
    errors = json.loads((results / "out/errors.json").read_bytes())
    assert list(errors) == ["<$faulty>", "half"]
    counts = errors["<$faulty>"]
    assert counts["lefthand"]["inversion"] > 0 < counts["face"]["miss"]
    assert sum(counts["wholebody"].values()) == sum(
        sum(counts[part].values()) for part in counts if part != "wholebody"
    )


def test_every_image_has_its_width_and_height(people, results):
    file = people / "annotations/coco_wholebody_val_v1.0.json"
    ground_truth = read_ground_truth(file, WHOLEBODY)
    run = analyze_results("half", results / "half.json", ground_truth, WHOLEBODY)
    pictures = ImageRenderer(
        find_image_files(ground_truth, people / "val2017"), ground_truth, WHOLEBODY, max_size=100
    )
    content = build_report(
        [run], file, ground_truth, WHOLEBODY, num_worst_images=2, pictures=pictures
    )
    write_report(results / "sized.html", content)
    html = (results / "sized.html").read_text(encoding="utf-8")
    sized = re.findall(
        r'<img src="data:image/([^;]*);base64,([^"]*)"[^>]* width="(\d+)" height="(\d+)"', html
    )
    assert len(sized) == html.count("<img") > 4
    for file_type, data, width, height in sized:
        if file_type == "jpeg":
            size = Image.open(BytesIO(base64.b64decode(data))).size
            assert (int(width), int(height)) == size


def test_a_report_without_pictures_tells_how_to_include_them(people, results):
    file = people / "annotations/coco_wholebody_val_v1.0.json"
    ground_truth = read_ground_truth(file, WHOLEBODY)
    run = analyze_results("half", results / "half.json", ground_truth, WHOLEBODY)
    write_report(results / "plain.html", build_report([run], file, ground_truth, WHOLEBODY))
    page = (results / "plain.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in page
    assert "Use <code>images=FOLDER</code> to include them" in page


def test_a_custom_skeleton_has_a_report(tmp_path):
    bird = make_custom_skeleton(
        "bird", ["tip", "eye", "<wing>"], [0.05] * 3, parts={"beak": 2, "side": 1}
    )
    ground_truth = make_separated_ground_truth(2)
    ground_truth = ground_truth._replace(keypoints=ground_truth.keypoints[:, :3])
    file = tmp_path / "results.json"
    write_results(file, to_coco_results(7, Poses(ground_truth.keypoints, np.ones(2)), bird))
    run = analyze_results("run", file, ground_truth, bird)
    write_report(tmp_path / "page.html", build_report([run], file, ground_truth, bird))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in ("AP, bird", "beak", "side", "1.000", "of 2 people matched"):
        assert text in page


def test_two_files_with_the_same_name_are_an_error(people, results):
    ground_truth = f"ground_truth={people}/annotations/coco_wholebody_val_v1.0.json"
    files = ("results=half.json", "compare_with=faulty.json", "names=[a, a]", "output=none")
    process = run("report", ground_truth, *files, cwd=results)
    assert process.returncode == 1
    assert "names=['a', 'a'] are not 2 different names" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (results / "none").exists()


def test_the_wheel_contains_template_and_style_sheet(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"tagpose/report/report.html.jinja", "tagpose/report/report.css"} <= names


@pytest.mark.parametrize(
    ("stated", "is_upright"), [((60, 40), False), ((40, 60), True), (None, True)]
)
def test_an_image_with_exif_rotation_is_drawn_as_it_was_annotated(tmp_path, stated, is_upright):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (60, 40)).save(tmp_path / "1.jpg", exif=exif)
    width, height = stated or (None, None)
    row = {"id": 7, "file_name": "1.jpg", "width": width, "height": height}
    person = {"image_id": 7, "keypoints": [10, 10, 2] * 17, "bbox": [1, 1, 20, 20], "iscrowd": 0}
    file = tmp_path / "ground_truth.json"
    file.write_text(json.dumps({"images": [row], "annotations": [person | {"area": 400}]}))
    ground_truth = read_ground_truth(file, BODY)
    (tmp_path / "results.json").write_text("[]")
    run = analyze_results("empty", tmp_path / "results.json", ground_truth, BODY)
    pictures = ImageRenderer(find_image_files(ground_truth, tmp_path), ground_truth, BODY)
    for picture in (pictures.draw_ground_truth(0, run), pictures.draw_predictions(0, run)):
        assert (picture.width, picture.height) == ((40, 60) if is_upright else (60, 40))
