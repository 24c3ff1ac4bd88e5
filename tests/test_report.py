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

from running import ROOT, run, succeeded
from tagpose.evaluation.part_ap import compare, part_curves, part_scores
from tagpose.evaluation.rows import to_rows, write_rows
from tagpose.evaluation.truth import Truth, read_truth
from tagpose.official_skeletons import BODY, WHOLEBODY
from tagpose.own_skeleton import make_skeleton
from tagpose.report.bars import error_bars
from tagpose.report.curves import lines_of
from tagpose.report.errors import Kind, keypoint_kinds, tally
from tagpose.report.images import image_errors, largest
from tagpose.report.matches import balanced_score, match_people
from tagpose.report.page import make_page, write_page
from tagpose.report.pictures import Pictures, image_files
from tagpose.report.run import name_runs, read_run
from tagpose.report.tables import error_grid, headline, whom_counted
from tagpose.structures import People

PARTS = list(WHOLEBODY.limbs)


def crowded(rng, skeleton=WHOLEBODY, images=6, people=4):
    """People on top of each other, some keypoints and parts unlabelled, one of them a crowd."""
    image = np.repeat(np.arange(images), people)
    keypoints = rng.uniform(0, 150, (len(image), skeleton.size, 3))
    keypoints[..., 2] = rng.choice([0, 1, 2], (len(image), skeleton.size))
    for at in skeleton.limbs.values():
        keypoints[rng.random(len(image)) < 0.2, at, 2] = 0
    boxes = np.tile([0.0, 0, 150, 150], (len(image), 1))
    areas, crowd = rng.uniform(50, 300, len(image)) ** 2, np.arange(len(image)) == 1
    return Truth(np.arange(1, images + 1), image, keypoints, areas, boxes, crowd)


def apart(people=3):
    """Truth of one image in which no place of a keypoint is near another, all of it labelled."""
    side = math.ceil(math.sqrt(WHOLEBODY.size))
    grid = np.stack(np.divmod(np.arange(WHOLEBODY.size), side), 1) * 30.0
    keypoints = np.full((people, WHOLEBODY.size, 3), 2.0)
    keypoints[..., :2] = grid + 1000.0 * np.arange(people)[:, None, None]
    boxes = np.c_[keypoints[:, 0, :2], np.full((people, 2), 30.0 * side)]
    image, areas = np.zeros(people, int), np.full(people, 50.0**2)
    return Truth(np.array([7]), image, keypoints, areas, boxes, np.zeros(people, bool))


def diagnosed(truth, found, skeleton=WHOLEBODY):
    """Who found whom, and the kinds of their keypoints."""
    compared = compare(truth, found, skeleton)
    matches = match_people(truth, compared, skeleton)
    return compared, matches, keypoint_kinds(truth, compared.detections, matches, skeleton)


def moved(keypoints, similarity, truth, rng):
    """Keypoints [P, K, 3] that far away, in any direction, that they have the similarity."""
    spread = np.sqrt(2 * truth.areas[:, None]) * 2 * np.array(WHOLEBODY.sigmas)
    angle = rng.uniform(0, 2 * math.pi, spread.shape)
    away = math.sqrt(-math.log(similarity)) * spread
    return keypoints + np.stack([away * np.cos(angle), away * np.sin(angle), 0 * away], -1)


def wrong(kind, part, keypoints, truth, rng):
    """Keypoints [P, K, 3], right but for one part, which is wrong in one way."""
    bad, at = keypoints.copy(), WHOLEBODY.parts[part]
    near = moved(keypoints, 0.95, truth, rng)
    bad[:, at] = {
        Kind.GOOD: near,
        Kind.JITTER: moved(keypoints, 0.7, truth, rng),
        Kind.INVERSION: near[:, WHOLEBODY.mirror],
        Kind.SWAP: np.roll(near, 1, axis=0),
        Kind.MISS: keypoints + np.array([500.0, 0, 0]),
    }[kind][:, at]
    return bad


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", Kind)
def test_each_kind_of_error_is_told_by_its_name_and_only_where_it_is(kind, part):
    truth = apart()
    keypoints = wrong(kind, part, truth.keypoints, truth, np.random.default_rng(0))
    _, matches, kinds = diagnosed(truth, {7: People(keypoints, np.array([0.9, 0.8, 0.7]))})
    assert matches.person.tolist() == [0, 1, 2]
    expected = np.zeros(WHOLEBODY.size)
    expected[WHOLEBODY.parts[part]] = kind
    if kind == Kind.INVERSION:  # what lies in the middle has no other side
        expected[np.array(WHOLEBODY.mirror) == np.arange(WHOLEBODY.size)] = Kind.GOOD
    assert (kinds == expected).all()
    counts = tally(kinds, WHOLEBODY)
    assert all(counts[other][1:].sum() == 0 for other in PARTS if other != part)


def plain_kind(point, k, person, truth, skeleton):
    """The kind of one keypoint, one place after the other, as the authors' program has it."""
    best, name = -1.0, ""
    for other in np.flatnonzero(truth.image == truth.image[person]):
        for j in (k, skeleton.mirror[k]):
            x, y, v = truth.keypoints[other, j]
            squared = (point[0] - x) ** 2 + (point[1] - y) ** 2
            scale = 2 * truth.areas[other] * (2 * skeleton.sigmas[j]) ** 2
            similarity = math.exp(-squared / scale) if v > 0 else 0
            own = other == person and j == k  # of equal places it comes first
            if similarity > best or (similarity == best and own):
                best = similarity
                name = "own" if own else "mirror" if other == person else "other"
    if best < 0.5:
        return Kind.MISS
    near = Kind.GOOD if best >= 0.85 else Kind.JITTER
    return {"own": near, "mirror": Kind.INVERSION, "other": Kind.SWAP}[name]


@pytest.mark.parametrize("skeleton", [BODY, WHOLEBODY], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("seed", range(3))
def test_kinds_in_a_crowd_are_those_of_the_plain_loop(skeleton, seed):
    rng = np.random.default_rng(seed)
    truth = crowded(rng, skeleton)
    noise = rng.normal(0, 8, truth.keypoints.shape) * [1, 1, 0]
    keypoints = np.where(truth.keypoints[..., 2:] > 0, truth.keypoints + noise, 1)
    found = {n + 1: People(keypoints[truth.image == n], np.arange(4.0)) for n in range(6)}
    compared, matches, kinds = diagnosed(truth, found, skeleton)
    points = compared.detections.keypoints[matches.detection]
    for f, k in np.argwhere(truth.keypoints[matches.person, :, 2] > 0):
        assert kinds[f, k] == plain_kind(points[f, k], k, matches.person[f], truth, skeleton)
    assert (kinds >= 0).sum() == (truth.keypoints[matches.person, :, 2] > 0).sum()
    assert set(kinds.ravel().tolist()) == {-1, *Kind}


def test_without_mirror_pairs_nothing_is_an_inversion(tmp_path):
    skeleton = BODY._replace(mirror=tuple(range(BODY.size)))
    truth = apart()._replace(keypoints=apart().keypoints[:, : BODY.size])
    turned = truth.keypoints[:, BODY.mirror]
    turned[:, :5] = truth.keypoints[:, :5]  # with the head right, they are found
    write_rows(tmp_path / "results.json", to_rows(7, People(turned, np.ones(3)), skeleton))
    read = read_run("turned", tmp_path / "results.json", truth, skeleton)
    assert tally(read.kinds, skeleton)["body"].tolist() == [15, 0, 0, 0, 36]
    assert error_grid(read, skeleton).rows[0][2 + Kind.INVERSION] == "-"
    (bar,) = error_bars([read], skeleton)
    assert [segment.kind for segment in bar.segments] == ["good", "jitter", "swap", "miss"]


def test_people_are_missed_or_false_unless_they_are_in_a_crowd():
    truth = apart(4)._replace(crowd=np.array([False, False, False, True]))
    stray = truth.keypoints[:1] + np.array([9000.0, 0, 0])
    found = {7: People(np.concatenate([truth.keypoints[1:], stray]), np.arange(4.0))}
    compared, matches, kinds = diagnosed(truth, found)
    assert matches.person.tolist() == [1, 2]
    assert np.flatnonzero(matches.missed).tolist() == [0]
    assert np.flatnonzero(matches.false).tolist() == [3]
    errors = image_errors(truth, compared.detections, matches, kinds)
    assert [some.tolist() for some in errors[:3]] == [[2], [1], [1]]
    assert errors.loss.tolist() == pytest.approx([2])
    without = match_people(truth, compared, WHOLEBODY, min_score=0.5)
    assert np.flatnonzero(without.missed).tolist() == [0, 1]


def test_a_person_whose_body_alone_is_right_is_found():
    truth = apart(1)
    keypoints = truth.keypoints.copy()
    keypoints[:, BODY.size :, :2] += 500
    _, matches, kinds = diagnosed(truth, {7: People(keypoints, np.ones(1))})
    assert matches.oks.tolist() == pytest.approx([1 / len(PARTS)])
    assert (kinds[0] == Kind.MISS).sum() == WHOLEBODY.size - BODY.size


def f1_of(truth, found, least):
    """F1 at OKS .5 of those from a score on, by the AR of the table."""
    kept = {
        image: People(
            people.keypoints[people.scores >= least], people.scores[people.scores >= least]
        )
        for image, people in found.items()
    }
    people, told = len(truth.image), sum(len(people.scores) for people in kept.values())
    return 2 * part_scores(truth, kept, BODY)["body"].ar50 * people / (told + people)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), steps=st.sampled_from([3, 1000]))
def test_no_other_score_has_a_better_f1_than_that_of_the_balance(seed, steps):
    rng = np.random.default_rng(seed)
    truth = crowded(rng, BODY)
    labelled = truth.keypoints * [1, 1, 0] + [0, 0, 2]
    truth = truth._replace(keypoints=labelled, crowd=np.zeros(len(truth.image), bool))
    found = {}
    for n in range(6):
        keypoints = labelled[truth.image == n].repeat(3, axis=0)
        keypoints[..., :2] += rng.normal(0, 15, (*keypoints.shape[:2], 1)) * rng.random((12, 1, 1))
        # of a few steps many are equal
        found[n + 1] = People(keypoints, rng.integers(0, steps, 12) / steps)
    scores = sorted({score for people in found.values() for score in people.scores.tolist()})
    f1 = [f1_of(truth, found, score) for score in scores]
    chosen = balanced_score(truth, compare(truth, found, BODY), BODY)
    assert f1[scores.index(chosen)] == pytest.approx(max(f1))


def test_weak_people_by_the_hundred_are_in_the_ap_but_not_among_the_errors(tmp_path):
    truth, rng = apart(2), np.random.default_rng(0)
    weak = truth.keypoints[:1].repeat(18, axis=0) + rng.uniform(2000, 9000, (18, 1, 1)) * [1, 1, 0]
    keypoints = np.concatenate([truth.keypoints, weak])
    people = People(keypoints, np.r_[0.75, 0.5, rng.uniform(0.01, 0.1, 18)])
    file = tmp_path / "results.json"
    write_rows(file, to_rows(7, people, WHOLEBODY))
    read = read_run("it", file, truth, WHOLEBODY)
    assert read.min_score == 0.5
    assert read.errors.loss.tolist() == pytest.approx([0], abs=1e-6)
    assert dict(headline(read, truth, WHOLEBODY))["false people"] == "0"
    told = (
        "from a score of 0.5 on, where precision and recall balance best; the 18 below count in AP"
    )
    assert told in whom_counted(read)
    every = read_run("it", file, truth, WHOLEBODY, min_score=-math.inf)
    assert every.errors.false.tolist() == [18]
    assert every.scores == read.scores
    assert whom_counted(every) == "people of any score"
    asked = read_run("it", file, truth, WHOLEBODY, min_score=0.6)
    assert asked.errors.missed.tolist() == [1]
    assert "from a score of 0.6 on, as asked for" in whom_counted(asked)


def test_where_nobody_is_right_everybody_takes_part(tmp_path):
    truth = apart(1)
    write_rows(
        tmp_path / "far.json", to_rows(7, People(truth.keypoints + 500, np.ones(1)), WHOLEBODY)
    )
    write_rows(tmp_path / "none.json", [])
    for name, false in (("far", 1), ("none", 0)):
        read = read_run(name, tmp_path / f"{name}.json", truth, WHOLEBODY)
        assert read.errors.false.tolist() == [false]
        assert whom_counted(read) == "people of any score, as none of them is right"


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["runs/w32.json"], ["w32"]),
        (["runs/w32/results.json"], ["w32/results"]),
        (["runs/w32/results.json", "runs/w48/results.json"], ["w32/results", "w48/results"]),
        (["old/w32.json", "new/w32.json"], ["old/w32", "new/w32"]),
        (["old/truth.json", "w32.json"], ["old/truth", "w32"]),
    ],
)
def test_a_run_is_named_by_its_file_and_with_the_folder_where_that_says_too_little(files, names):
    assert name_runs([Path(file) for file in files]) == names


def test_the_worst_images_come_first_and_those_without_loss_not_at_all():
    assert largest(np.array([0, 3.0, 1, 5, 0, 3]), 9) == [3, 1, 5, 2]
    assert largest(np.array([0, 3.0, 1, 5, 0, 3]), 2) == [3, 1]


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_mean_of_a_curve_is_the_ap_that_the_table_has(seed):
    rng = np.random.default_rng(seed)
    truth = crowded(rng)
    found = {}
    for n in range(3):
        keypoints = truth.keypoints[truth.image == n].astype(np.float32)
        keypoints[..., :2] += rng.normal(0, 1, (4, 1, 1)) * rng.normal(0, 5, (4, WHOLEBODY.size, 2))
        found[n + 1] = People(keypoints, rng.random(4))
    curves = part_curves(truth, compare(truth, found, WHOLEBODY), WHOLEBODY)
    scores = part_scores(truth, found, WHOLEBODY)
    assert curves.keys() == WHOLEBODY.parts.keys()
    for part, some in curves.items():
        means = [line.precision.mean() for line in lines_of(some["all"])]
        assert means == pytest.approx([scores[part].ap50, scores[part].ap75, scores[part].ap])
        assert all(len(line.precision) == 101 for line in lines_of(some["all"]))


ARMS = slice(7, 11)  # elbows and wrists


def faulty(truth, image, rng):
    """The people of an image: feet jittered, faces missed, hands inverted, arms swapped."""
    keypoints = truth.keypoints
    for kind, part in (
        (Kind.JITTER, "foot"),
        (Kind.MISS, "face"),
        (Kind.INVERSION, "lefthand"),
        (Kind.INVERSION, "righthand"),
    ):
        at = WHOLEBODY.parts[part]
        keypoints = wrong(kind, part, keypoints, truth, rng)
        if kind == Kind.INVERSION:  # of the other hand as it was
            keypoints[:, at] = truth.keypoints[:, WHOLEBODY.mirror][:, at]
    keypoints = keypoints[(truth.image == image) & ~truth.crowd]
    keypoints[:, ARMS] = np.roll(keypoints[:, ARMS], 1, axis=0)
    keypoints[..., 2] = 1
    return People(keypoints, np.ones(len(keypoints)))


@pytest.fixture(scope="module")
def results(people, tmp_path_factory):
    """Folder of two result files on drawn people: a faulty one, and every second row of it."""
    folder, rng = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    truth = read_truth(people / "annotations/coco_wholebody_val_v1.0.json", WHOLEBODY)
    rows = []
    for image, image_id in enumerate(truth.image_ids.tolist()):
        rows += to_rows(image_id, faulty(truth, image, rng), WHOLEBODY)
    write_rows(folder / "faulty.json", rows)
    write_rows(folder / "lost.json", rows[::2])
    return folder


def test_errors_on_drawn_people_are_those_that_were_made(people, results):
    truth = read_truth(people / "annotations/coco_wholebody_val_v1.0.json", WHOLEBODY)
    read = read_run("faulty", results / "faulty.json", truth, WHOLEBODY)
    labelled = truth.keypoints[read.matches.person, :, 2] > 0
    # where one hand is hidden, nobody can tell that the other lies there
    both = labelled & labelled[:, WHOLEBODY.mirror]
    for part, kind in (("foot", Kind.JITTER), ("face", Kind.MISS)):
        at = WHOLEBODY.parts[part]
        assert (read.kinds[:, at] == kind).sum() > 0.9 * labelled[:, at].sum() > 0
    for part in ("lefthand", "righthand"):
        at = WHOLEBODY.parts[part]
        assert (read.kinds[:, at] == Kind.INVERSION).sum() == both[:, at].sum() > 0
    # some are alone in their image
    assert (read.kinds[:, ARMS] == Kind.SWAP).sum() > 0.4 * labelled[:, ARMS].sum() > 0
    assert not (read.kinds[:, ARMS] == Kind.INVERSION).any()
    assert (read.kinds[:, :7] == Kind.GOOD).sum() > 0.8 * labelled[:, :7].sum()
    lost = read_run("lost", results / "lost.json", truth, WHOLEBODY)
    assert lost.matches.missed.sum() > 0.4 * len(read.matches.missed) > read.matches.missed.sum()


def test_the_page_stands_alone_and_shows_both_files(people, results):
    truth = people / "annotations/coco_wholebody_val_v1.0.json"
    told = run(
        "report", "results=faulty.json", "other=lost.json", f"truth={truth}",
        f"images={people}/val2017", "names=['<$faulty>', lost]", "worst=2", "output=out",
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
    truth = read_truth(file, WHOLEBODY)
    read = read_run("lost", results / "lost.json", truth, WHOLEBODY)
    pictures = Pictures(image_files(truth, people / "val2017"), truth, WHOLEBODY, side=100)
    page = make_page([read], file, truth, WHOLEBODY, worst=2, pictures=pictures)
    write_page(results / "sized.html", page)
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
    truth = read_truth(file, WHOLEBODY)
    read = read_run("lost", results / "lost.json", truth, WHOLEBODY)
    write_page(results / "plain.html", make_page([read], file, truth, WHOLEBODY))
    page = (results / "plain.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in page
    assert "No pictures: their folder was not given" in page


def test_a_skeleton_of_ones_own_has_a_page(tmp_path):
    bird = make_skeleton("bird", ["tip", "eye", "<wing>"], [0.05] * 3, parts={"beak": 2, "side": 1})
    truth = apart(2)._replace(keypoints=apart(2).keypoints[:, :3])
    file = tmp_path / "results.json"
    write_rows(file, to_rows(7, People(truth.keypoints, np.ones(2)), bird))
    page = make_page([read_run("it", file, truth, bird)], file, truth, bird)
    write_page(tmp_path / "page.html", page)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("AP, bird", "beak", "side", "1.000", "of 2 people found"))


def test_two_files_of_one_name_are_refused_in_a_sentence(people, results):
    truth = f"truth={people}/annotations/coco_wholebody_val_v1.0.json"
    files = ("results=lost.json", "other=faulty.json", "names=[a, a]", "output=none")
    told = run("report", truth, *files, cwd=results)
    assert told.returncode == 1
    assert "names=['a', 'a'] are not 2 names" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (results / "none").exists()


def test_the_wheel_has_what_the_page_is_made_of(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"tagpose/report/report.html.jinja", "tagpose/report/report.css"} <= names
