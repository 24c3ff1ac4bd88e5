"""The page on a result file: its curves are those of the AP, and each error is told by its kind."""

import base64
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
from tagpose.evaluation.keypoint_ap import (
    compute_part_curves,
    evaluate_parts,
    pair_with_ground_truth,
)
from tagpose.report.analysis import analyze_results, name_results
from tagpose.report.embedded_images import ImageRenderer, find_image_files
from tagpose.report.figures import error_bars, pr_curves
from tagpose.report.html_report import build_report, write_report
from tagpose.report.keypoint_errors import (
    ErrorType,
    classify_keypoints,
    count_error_types,
    image_errors,
    top_indices,
)
from tagpose.report.person_matches import find_best_f1_score, match_people
from tagpose.report.text_tables import describe_score_limit, error_table, headline
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.structures import Poses

PARTS = list(WHOLEBODY.disjoint_parts)


def crowded(rng, skeleton=WHOLEBODY, images=6, people=4):
    """Poses on top of each other, some keypoints and parts unlabelled, one of them a crowd."""
    image = np.repeat(np.arange(images), people)
    keypoints = rng.uniform(0, 150, (len(image), skeleton.size, 3))
    keypoints[..., 2] = rng.choice([0, 1, 2], (len(image), skeleton.size))
    for at in skeleton.disjoint_parts.values():
        keypoints[rng.random(len(image)) < 0.2, at, 2] = 0
    boxes = np.tile([0.0, 0, 150, 150], (len(image), 1))
    areas, crowd = rng.uniform(50, 300, len(image)) ** 2, np.arange(len(image)) == 1
    return GroundTruth(np.arange(1, images + 1), image, keypoints, areas, boxes, crowd)


def apart(people=3):
    """Ground truth of one image in which no place of a keypoint is near another, all of it labelled."""
    side = math.ceil(math.sqrt(WHOLEBODY.size))
    grid = np.stack(np.divmod(np.arange(WHOLEBODY.size), side), 1) * 30.0
    keypoints = np.full((people, WHOLEBODY.size, 3), 2.0)
    keypoints[..., :2] = grid + 1000.0 * np.arange(people)[:, None, None]
    boxes = np.c_[keypoints[:, 0, :2], np.full((people, 2), 30.0 * side)]
    image, areas = np.zeros(people, int), np.full(people, 50.0**2)
    return GroundTruth(np.array([7]), image, keypoints, areas, boxes, np.zeros(people, bool))


def diagnosed(ground_truth, found, skeleton=WHOLEBODY):
    """Who found whom, and the kinds of their keypoints."""
    paired = pair_with_ground_truth(ground_truth, found, skeleton)
    matches = match_people(ground_truth, paired, skeleton)
    return paired, matches, classify_keypoints(ground_truth, paired.detections, matches, skeleton)


def moved(keypoints, similarity, ground_truth, rng):
    """Keypoints [P, K, 3] that far away, in any direction, that they have the similarity."""
    spread = np.sqrt(2 * ground_truth.areas[:, None]) * 2 * np.array(WHOLEBODY.sigmas)
    angle = rng.uniform(0, 2 * math.pi, spread.shape)
    away = math.sqrt(-math.log(similarity)) * spread
    return keypoints + np.stack([away * np.cos(angle), away * np.sin(angle), 0 * away], -1)


def wrong(kind, part, keypoints, ground_truth, rng):
    """Keypoints [P, K, 3], right but for one part, which is wrong in one way."""
    bad, at = keypoints.copy(), WHOLEBODY.parts[part]
    near = moved(keypoints, 0.95, ground_truth, rng)
    bad[:, at] = {
        ErrorType.GOOD: near,
        ErrorType.JITTER: moved(keypoints, 0.7, ground_truth, rng),
        ErrorType.INVERSION: near[:, WHOLEBODY.flip_indices],
        ErrorType.SWAP: np.roll(near, 1, axis=0),
        ErrorType.MISS: keypoints + np.array([500.0, 0, 0]),
    }[kind][:, at]
    return bad


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ErrorType)
def test_each_kind_of_error_is_told_by_its_name_and_only_where_it_is(kind, part):
    ground_truth = apart()
    keypoints = wrong(kind, part, ground_truth.keypoints, ground_truth, np.random.default_rng(0))
    _, matches, kinds = diagnosed(ground_truth, {7: Poses(keypoints, np.array([0.9, 0.8, 0.7]))})
    assert matches.person.tolist() == [0, 1, 2]
    expected = np.zeros(WHOLEBODY.size)
    expected[WHOLEBODY.parts[part]] = kind
    if kind == ErrorType.INVERSION:  # what lies in the middle has no other side
        expected[np.array(WHOLEBODY.flip_indices) == np.arange(WHOLEBODY.size)] = ErrorType.GOOD
    assert (kinds == expected).all()
    counts = count_error_types(kinds, WHOLEBODY)
    assert all(counts[other][1:].sum() == 0 for other in PARTS if other != part)


def plain_kind(point, k, person, ground_truth, skeleton):
    """The kind of one keypoint, one place after the other, as the authors' program has it."""
    best, name = -1.0, ""
    for other in np.flatnonzero(ground_truth.image == ground_truth.image[person]):
        for j in (k, skeleton.flip_indices[k]):
            x, y, v = ground_truth.keypoints[other, j]
            squared = (point[0] - x) ** 2 + (point[1] - y) ** 2
            scale = 2 * ground_truth.areas[other] * (2 * skeleton.sigmas[j]) ** 2
            similarity = math.exp(-squared / scale) if v > 0 else 0
            own = other == person and j == k  # of equal places it comes first
            if similarity > best or (similarity == best and own):
                best = similarity
                name = "own" if own else "mirror" if other == person else "other"
    if best < 0.5:
        return ErrorType.MISS
    near = ErrorType.GOOD if best >= 0.85 else ErrorType.JITTER
    return {"own": near, "mirror": ErrorType.INVERSION, "other": ErrorType.SWAP}[name]


@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("seed", range(3))
def test_kinds_in_a_crowd_are_those_of_the_plain_loop(skeleton, seed):
    rng = np.random.default_rng(seed)
    ground_truth = crowded(rng, skeleton)
    noise = rng.normal(0, 8, ground_truth.keypoints.shape) * [1, 1, 0]
    keypoints = np.where(ground_truth.keypoints[..., 2:] > 0, ground_truth.keypoints + noise, 1)
    found = {n + 1: Poses(keypoints[ground_truth.image == n], np.arange(4.0)) for n in range(6)}
    paired, matches, kinds = diagnosed(ground_truth, found, skeleton)
    points = paired.detections.keypoints[matches.detection]
    for f, k in np.argwhere(ground_truth.keypoints[matches.person, :, 2] > 0):
        assert kinds[f, k] == plain_kind(points[f, k], k, matches.person[f], ground_truth, skeleton)
    assert (kinds >= 0).sum() == (ground_truth.keypoints[matches.person, :, 2] > 0).sum()
    assert set(kinds.ravel().tolist()) == {-1, *ErrorType}


def test_without_mirror_pairs_nothing_is_an_inversion(tmp_path):
    skeleton = BODY._replace(flip_indices=tuple(range(BODY.size)))
    ground_truth = apart()._replace(keypoints=apart().keypoints[:, : BODY.size])
    turned = ground_truth.keypoints[:, BODY.flip_indices]
    turned[:, :5] = ground_truth.keypoints[:, :5]  # with the head right, they are found
    write_results(
        tmp_path / "results.json", to_coco_results(7, Poses(turned, np.ones(3)), skeleton)
    )
    read = analyze_results("turned", tmp_path / "results.json", ground_truth, skeleton)
    assert count_error_types(read.kinds, skeleton)["body"].tolist() == [15, 0, 0, 0, 36]
    assert error_table(read, skeleton).rows[0][2 + ErrorType.INVERSION] == "-"
    (bar,) = error_bars([read], skeleton)
    assert [segment.kind for segment in bar.segments] == ["good", "jitter", "swap", "miss"]


def test_people_are_missed_or_false_unless_they_are_in_a_crowd():
    ground_truth = apart(4)._replace(crowd=np.array([False, False, False, True]))
    stray = ground_truth.keypoints[:1] + np.array([9000.0, 0, 0])
    found = {7: Poses(np.concatenate([ground_truth.keypoints[1:], stray]), np.arange(4.0))}
    paired, matches, kinds = diagnosed(ground_truth, found)
    assert matches.person.tolist() == [1, 2]
    assert np.flatnonzero(matches.missed).tolist() == [0]
    assert np.flatnonzero(matches.false).tolist() == [3]
    errors = image_errors(ground_truth, paired.detections, matches, kinds)
    assert [some.tolist() for some in errors[:3]] == [[2], [1], [1]]
    assert errors.loss.tolist() == pytest.approx([2])
    without = match_people(ground_truth, paired, WHOLEBODY, min_score=0.5)
    assert np.flatnonzero(without.missed).tolist() == [0, 1]


def test_a_person_whose_body_alone_is_right_is_found():
    ground_truth = apart(1)
    keypoints = ground_truth.keypoints.copy()
    keypoints[:, BODY.size :, :2] += 500
    _, matches, kinds = diagnosed(ground_truth, {7: Poses(keypoints, np.ones(1))})
    assert matches.oks.tolist() == pytest.approx([1 / len(PARTS)])
    assert (kinds[0] == ErrorType.MISS).sum() == WHOLEBODY.size - BODY.size


def f1_of(ground_truth, found, least):
    """F1 at OKS .5 of those from a score on, by the AR of the table."""
    kept = {
        image: Poses(
            people.keypoints[people.scores >= least], people.scores[people.scores >= least]
        )
        for image, people in found.items()
    }
    people, told = len(ground_truth.image), sum(len(people.scores) for people in kept.values())
    return 2 * evaluate_parts(ground_truth, kept, BODY)["body"].ar50 * people / (told + people)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), steps=st.sampled_from([3, 1000]))
def test_no_other_score_has_a_better_f1_than_that_of_the_balance(seed, steps):
    rng = np.random.default_rng(seed)
    ground_truth = crowded(rng, BODY)
    labelled = ground_truth.keypoints * [1, 1, 0] + [0, 0, 2]
    ground_truth = ground_truth._replace(
        keypoints=labelled, crowd=np.zeros(len(ground_truth.image), bool)
    )
    found = {}
    for n in range(6):
        keypoints = labelled[ground_truth.image == n].repeat(3, axis=0)
        keypoints[..., :2] += rng.normal(0, 15, (*keypoints.shape[:2], 1)) * rng.random((12, 1, 1))
        # of a few steps many are equal
        found[n + 1] = Poses(keypoints, rng.integers(0, steps, 12) / steps)
    scores = sorted({score for people in found.values() for score in people.scores.tolist()})
    f1 = [f1_of(ground_truth, found, score) for score in scores]
    chosen = find_best_f1_score(
        ground_truth, pair_with_ground_truth(ground_truth, found, BODY), BODY
    )
    assert f1[scores.index(chosen)] == pytest.approx(max(f1))


def test_weak_people_by_the_hundred_are_in_the_ap_but_not_among_the_errors(tmp_path):
    ground_truth, rng = apart(2), np.random.default_rng(0)
    weak = ground_truth.keypoints[:1].repeat(18, axis=0) + rng.uniform(2000, 9000, (18, 1, 1)) * [
        1,
        1,
        0,
    ]
    keypoints = np.concatenate([ground_truth.keypoints, weak])
    people = Poses(keypoints, np.r_[0.75, 0.5, rng.uniform(0.01, 0.1, 18)])
    file = tmp_path / "results.json"
    write_results(file, to_coco_results(7, people, WHOLEBODY))
    read = analyze_results("it", file, ground_truth, WHOLEBODY)
    assert read.min_score == 0.5
    assert read.errors.loss.tolist() == pytest.approx([0], abs=1e-6)
    assert dict(headline(read, ground_truth, WHOLEBODY))["false people"] == "0"
    told = (
        "from a score of 0.5 on, where precision and recall balance best; the 18 below count in AP"
    )
    assert told in describe_score_limit(read)
    every = analyze_results("it", file, ground_truth, WHOLEBODY, min_score=-math.inf)
    assert every.errors.false.tolist() == [18]
    assert every.scores == read.scores
    assert describe_score_limit(every) == "people of any score"
    asked = analyze_results("it", file, ground_truth, WHOLEBODY, min_score=0.6)
    assert asked.errors.missed.tolist() == [1]
    assert "from a score of 0.6 on, as asked for" in describe_score_limit(asked)


def test_where_nobody_is_right_everybody_takes_part(tmp_path):
    ground_truth = apart(1)
    write_results(
        tmp_path / "far.json",
        to_coco_results(7, Poses(ground_truth.keypoints + 500, np.ones(1)), WHOLEBODY),
    )
    write_results(tmp_path / "none.json", [])
    for name, false in (("far", 1), ("none", 0)):
        read = analyze_results(name, tmp_path / f"{name}.json", ground_truth, WHOLEBODY)
        assert read.errors.false.tolist() == [false]
        assert describe_score_limit(read) == "people of any score, as none of them is right"


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
def test_a_run_is_named_by_its_file_and_with_the_folder_where_that_says_too_little(files, names):
    assert name_results([Path(file) for file in files]) == names


def test_the_worst_images_come_first_and_those_without_loss_not_at_all():
    assert top_indices(np.array([0, 3.0, 1, 5, 0, 3]), 9) == [3, 1, 5, 2]
    assert top_indices(np.array([0, 3.0, 1, 5, 0, 3]), 2) == [3, 1]


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_mean_of_a_curve_is_the_ap_that_the_table_has(seed):
    rng = np.random.default_rng(seed)
    ground_truth = crowded(rng)
    found = {}
    for n in range(3):
        keypoints = ground_truth.keypoints[ground_truth.image == n].astype(np.float32)
        keypoints[..., :2] += rng.normal(0, 1, (4, 1, 1)) * rng.normal(0, 5, (4, WHOLEBODY.size, 2))
        found[n + 1] = Poses(keypoints, rng.random(4))
    curves = compute_part_curves(
        ground_truth, pair_with_ground_truth(ground_truth, found, WHOLEBODY), WHOLEBODY
    )
    scores = evaluate_parts(ground_truth, found, WHOLEBODY)
    assert curves.keys() == WHOLEBODY.parts.keys()
    for part, some in curves.items():
        means = [line.precision.mean() for line in pr_curves(some["all"])]
        assert means == pytest.approx([scores[part].ap50, scores[part].ap75, scores[part].ap])
        assert all(len(line.precision) == 101 for line in pr_curves(some["all"]))


ARMS = slice(7, 11)  # elbows and wrists


def faulty(ground_truth, image, rng):
    """The people of an image: feet jittered, faces missed, hands inverted, arms swapped."""
    keypoints = ground_truth.keypoints
    for kind, part in (
        (ErrorType.JITTER, "foot"),
        (ErrorType.MISS, "face"),
        (ErrorType.INVERSION, "lefthand"),
        (ErrorType.INVERSION, "righthand"),
    ):
        at = WHOLEBODY.parts[part]
        keypoints = wrong(kind, part, keypoints, ground_truth, rng)
        if kind == ErrorType.INVERSION:  # of the other hand as it was
            keypoints[:, at] = ground_truth.keypoints[:, WHOLEBODY.flip_indices][:, at]
    keypoints = keypoints[(ground_truth.image == image) & ~ground_truth.crowd]
    keypoints[:, ARMS] = np.roll(keypoints[:, ARMS], 1, axis=0)
    keypoints[..., 2] = 1
    return Poses(keypoints, np.ones(len(keypoints)))


@pytest.fixture(scope="module")
def results(people, tmp_path_factory):
    """Folder of two result files on drawn people: a faulty one, and every second row of it."""
    folder, rng = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    ground_truth = read_ground_truth(people / "annotations/coco_wholebody_val_v1.0.json", WHOLEBODY)
    rows = []
    for image, image_id in enumerate(ground_truth.image_ids.tolist()):
        rows += to_coco_results(image_id, faulty(ground_truth, image, rng), WHOLEBODY)
    write_results(folder / "faulty.json", rows)
    write_results(folder / "lost.json", rows[::2])
    return folder


def test_errors_on_drawn_people_are_those_that_were_made(people, results):
    ground_truth = read_ground_truth(people / "annotations/coco_wholebody_val_v1.0.json", WHOLEBODY)
    read = analyze_results("faulty", results / "faulty.json", ground_truth, WHOLEBODY)
    labelled = ground_truth.keypoints[read.matches.person, :, 2] > 0
    # where one hand is hidden, nobody can tell that the other lies there
    both = labelled & labelled[:, WHOLEBODY.flip_indices]
    for part, kind in (("foot", ErrorType.JITTER), ("face", ErrorType.MISS)):
        at = WHOLEBODY.parts[part]
        assert (read.kinds[:, at] == kind).sum() > 0.9 * labelled[:, at].sum() > 0
    for part in ("lefthand", "righthand"):
        at = WHOLEBODY.parts[part]
        assert (read.kinds[:, at] == ErrorType.INVERSION).sum() == both[:, at].sum() > 0
    # some are alone in their image
    assert (read.kinds[:, ARMS] == ErrorType.SWAP).sum() > 0.4 * labelled[:, ARMS].sum() > 0
    assert not (read.kinds[:, ARMS] == ErrorType.INVERSION).any()
    assert (read.kinds[:, :7] == ErrorType.GOOD).sum() > 0.8 * labelled[:, :7].sum()
    lost = analyze_results("lost", results / "lost.json", ground_truth, WHOLEBODY)
    assert lost.matches.missed.sum() > 0.4 * len(read.matches.missed) > read.matches.missed.sum()


def test_the_page_stands_alone_and_shows_both_files(people, results):
    ground_truth = people / "annotations/coco_wholebody_val_v1.0.json"
    told = run(
        "report", "results=faulty.json", "compare_with=lost.json", f"ground_truth={ground_truth}",
        f"images={people}/val2017", "names=['<$faulty>', lost]", "num_worst_images=2", "output=out",
        cwd=results,
    )  # fmt: skip
    assert "out/report.html" in succeeded(told).stdout
    page = (results / "out/report.html").read_text(encoding="utf-8")
    assert "&lt;$faulty&gt;" in page
    assert "<$faulty>" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert "@import" not in page
    assert page.count("data:image/jpeg") == 2 * 2 + 2 * 3
    assert page.count("<img") == page.count('alt="') == page.count("data:image/")
    for word in ("left hand", "inversion", "0.000", "lost", "people missed"):
        assert word in page
    assert page.count("where precision and recall balance best") == 2 + 1


def test_every_picture_of_the_page_keeps_its_place_while_it_is_not_loaded(people, results):
    file = people / "annotations/coco_wholebody_val_v1.0.json"
    ground_truth = read_ground_truth(file, WHOLEBODY)
    read = analyze_results("lost", results / "lost.json", ground_truth, WHOLEBODY)
    pictures = ImageRenderer(
        find_image_files(ground_truth, people / "val2017"), ground_truth, WHOLEBODY, max_size=100
    )
    page = build_report(
        [read], file, ground_truth, WHOLEBODY, num_worst_images=2, pictures=pictures
    )
    write_report(results / "sized.html", page)
    html = (results / "sized.html").read_text(encoding="utf-8")
    sized = re.findall(
        r'<img src="data:image/([^;]*);base64,([^"]*)"[^>]* width="(\d+)" height="(\d+)"', html
    )
    assert len(sized) == html.count("<img") > 4
    for kind, content, width, height in sized:
        if kind == "jpeg":
            size = Image.open(BytesIO(base64.b64decode(content))).size
            assert (int(width), int(height)) == size


def test_without_pictures_the_page_says_so(people, results):
    file = people / "annotations/coco_wholebody_val_v1.0.json"
    ground_truth = read_ground_truth(file, WHOLEBODY)
    read = analyze_results("lost", results / "lost.json", ground_truth, WHOLEBODY)
    write_report(results / "plain.html", build_report([read], file, ground_truth, WHOLEBODY))
    page = (results / "plain.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in page
    assert "No pictures: their folder was not given" in page


def test_a_skeleton_of_ones_own_has_a_page(tmp_path):
    bird = make_custom_skeleton(
        "bird", ["tip", "eye", "<wing>"], [0.05] * 3, parts={"beak": 2, "side": 1}
    )
    ground_truth = apart(2)._replace(keypoints=apart(2).keypoints[:, :3])
    file = tmp_path / "results.json"
    write_results(file, to_coco_results(7, Poses(ground_truth.keypoints, np.ones(2)), bird))
    page = build_report([analyze_results("it", file, ground_truth, bird)], file, ground_truth, bird)
    write_report(tmp_path / "page.html", page)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("AP, bird", "beak", "side", "1.000", "of 2 people found"))


def test_two_files_of_one_name_are_refused_in_a_sentence(people, results):
    ground_truth = f"ground_truth={people}/annotations/coco_wholebody_val_v1.0.json"
    files = ("results=lost.json", "compare_with=faulty.json", "names=[a, a]", "output=none")
    told = run("report", ground_truth, *files, cwd=results)
    assert told.returncode == 1
    assert "names=['a', 'a'] are not 2 different names" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (results / "none").exists()


def test_the_wheel_has_what_the_page_is_made_of(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"tagpose/report/report.html.jinja", "tagpose/report/report.css"} <= names
