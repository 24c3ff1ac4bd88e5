"""Dataset inspection finds all issues at once and counts the valid annotations."""

import json
import os
import re
import shutil
import warnings
from collections import Counter

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.run_scripts import ROOT, run, succeeded
from tagpose.cli import data_check
from tagpose.cli.console import render_tables
from tagpose.data.annotations import read_annotations
from tagpose.data.issues import IssueType, Severity, format_issues
from tagpose.data.quality.dataset_statistics import PartSizes
from tagpose.data.quality.input_size_advice import advise_input_size
from tagpose.data.quality.inspection import inspect_dataset
from tagpose.data.quality.sample_selection import pick_samples
from tagpose.data.quality.statistics_tables import format_part_sizes
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.skeletons.coco import BODY, SKELETONS, WHOLEBODY
from tagpose.visualization.samples import draw_boxes, draw_mask

SAMPLE = os.environ.get("TAGPOSE_COCO_SAMPLE")  # a folder with images/ and wholebody.json
FILES = {
    "body": "annotations/person_keypoints_{}2017.json",
    "wholebody": "annotations/coco_wholebody_{}_v1.0.json",
}


def image(number, **changes):
    return {"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} | changes


def person(number, **changes):
    """Return a valid row: a body in the middle of a 40 x 30 image and no other part."""
    row = {
        "id": number,
        "image_id": 1,
        "iscrowd": 0,
        "area": 100.0,
        "bbox": [10.0, 10.0, 10.0, 10.0],
        "segmentation": [],
    }
    for field, at in WHOLEBODY.json_keys.items():
        point = [20.0, 10.0, 2.0] if field == "keypoints" else [0.0] * 3
        row[field] = point * (at.stop - at.start)
    row |= {f"{part}_valid": False for part in WHOLEBODY.disjoint_parts if part != "body"}
    return row | changes


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Return a function that writes an annotation file and returns the arguments to inspect it."""
    folder = tmp_path_factory.mktemp("inspected")
    for number in (1, 2):
        Image.new("RGB", (40, 30)).save(folder / f"{number}.png")
    (folder / "cut.png").write_bytes((folder / "1.png").read_bytes()[:10])

    def write(annotations, images):
        file = folder / "annotations.json"
        file.write_text(json.dumps({"images": images, "annotations": annotations}))
        return file, folder, WHOLEBODY

    return write


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_synthetic_data_has_no_issues_and_its_counts_add_up(people, split, skeleton):
    file = people / FILES[skeleton.name].format(split)
    description, coverage, log, *_ = inspect_dataset(file, people / f"{split}2017", skeleton)
    assert description == "synthetic data"
    assert list(format_issues(log, 5)) == []
    rows = json.loads(file.read_text())["annotations"]
    assert coverage.images == {"train": 12, "val": 6}[split]
    assert coverage.people + coverage.crowds == len(rows)
    assert coverage.small + coverage.medium + coverage.large == coverage.people
    for part, at in skeleton.disjoint_parts.items():
        statistics = coverage.parts[part]
        assert statistics.labeled + statistics.unlabeled == coverage.people
        assert sum(statistics.values) == coverage.people * (at.stop - at.start)
        assert statistics.keypoints == sum(statistics.values) - statistics.values.zero
    num_labeled = sum(row["num_keypoints"] for row in rows if not row["iscrowd"])
    assert coverage.parts["body"].keypoints == num_labeled


def test_people_crowds_sizes_and_visibilities_are_counted(write):
    values = np.resize([0, 0.02, 1, 1.5, 2], WHOLEBODY.size)
    mixed = np.tile([20.0, 10.0, 0.0], (68, 1))
    mixed[:, 2] = values[: len(mixed)]
    mixed[mixed[:, 2] == 0] = 0
    rows = [
        person(1, face_kpts=mixed.ravel().tolist(), face_valid=True, area=1023.9),
        person(2, area=1024, keypoints=[0] * 51),
        person(3, area=9216),
        person(4, iscrowd=1),
    ]
    _, coverage, log, *_ = inspect_dataset(*write(rows, [image(1), image(2)]))
    assert not log.counts
    assert (coverage.images, coverage.empty, coverage.widths) == (2, 1, (40, 40))
    assert (coverage.people, coverage.crowds, coverage.without_keypoints) == (3, 1, 1)
    assert (coverage.small, coverage.medium, coverage.large) == (1, 1, 1)
    counts = Counter(mixed[:, 2].tolist())
    unlabeled = 2 * len(mixed) + counts[0]
    assert coverage.parts["face"].values == (
        unlabeled, counts[0.02], counts[1], counts[1.5], counts[2],
    )  # fmt: skip


def test_part_sizes_are_those_of_validation_in_heatmap_pixels(write):
    hand = np.zeros((21, 3))
    hand[:3] = [10, 10, 2], [14, 11, 1], [12, 16, 2]  # 6 pixels high
    single = np.zeros((21, 3))
    single[0] = 10, 10, 2
    rows = [
        person(1, bbox=[10, 5, 15, 20], lefthand_kpts=hand.ravel().tolist(), lefthand_valid=True),
        person(2, lefthand_kpts=single.ravel().tolist(), lefthand_valid=True),
        person(3, iscrowd=1),
        person(4, keypoints=[0] * 51),  # no labels
    ]
    parts = inspect_dataset(*write(rows, [image(1)])).part_sizes
    assert parts["person"].sizes.tolist() == [20, 10]
    assert parts["lefthand"].sizes.tolist() == [6]
    assert not len(parts["righthand"].sizes)
    scale = 64 / 30 / 4  # the shorter side has 30 image pixels
    np.testing.assert_allclose(parts["person"].in_heatmap(64, 4), [20 * scale, 10 * scale])
    assert parts["person"].too_small(64, 4) == 1
    np.testing.assert_allclose(parts["person"].in_heatmap(40, 4), [20 * scale, 10 * scale])  # as 64
    text = " ".join(render_tables(format_part_sizes(parts, 64, 4), width=120).split())
    assert "lefthand │ 1 │" in text
    assert "1 (50%)" in text
    assert "righthand │ 0 │" in text


@pytest.mark.parametrize(
    ("size", "image_size", "advice"),
    [
        (40, 640, "hand: 20 of 20 are .*; input_size=512 reduces this to 0 and takes 4.0 times"),
        (16, 640, "a larger input_size does not help"),  # 6 heatmap pixels even at 640
        (20, 256, "a larger input_size does not help"),  # not larger than the input
        (200, 640, None),
    ],
)
def test_a_larger_input_is_advised_only_where_it_helps(size, image_size, advice):
    parts = {"hand": PartSizes(np.full(20, float(size)), np.full(20, float(image_size)))}
    lines = list(advise_input_size(parts, 256, 4))
    assert len(lines) == (advice is not None)
    if advice:
        assert re.search(advice, lines[0])


T = IssueType
FAULTY = [  # rows with a single issue
    (person(11, face_kpts=[0.0] * 12), T.KEYPOINT_COUNT, "12 numbers in face_kpts, but"),
    (person(12, keypoints=None), T.KEYPOINT_COUNT, "no list in keypoints, but the skeleton has 51"),
    (person(13, keypoints=[float("nan")] * 51), T.KEYPOINT_VALUE, "the first of them nan"),
    (person(14, foot_kpts=[0.0] * 17 + ["x"]), T.KEYPOINT_VALUE, "has 'x' in foot_kpts"),
    (person(15, keypoints=[0, 1e39] + [0.0] * 49), T.KEYPOINT_VALUE, "the first of them 1e+39"),
    (person(16, face_valid=True), T.FLAG, "face_valid True, but no labeled keypoint"),
    (person(17, foot_kpts=[9, 9, 0.02] * 6), T.FLAG, "False, but a labeled keypoint"),
    (person(18, foot_valid="no"), T.FLAG, "foot_valid 'no'"),
    (person(19, bbox=[10, 10, 31.5, 5]), T.BOX_PLACE, "is outside its image"),
    (person(20, bbox=[10, 10, 0, 5]), T.BOX_PLACE, "has no area"),
    (person(21, bbox=[10, 10, 5]), T.BOX, "not x, y, width, height"),
    (person(32, bbox=[10, 10, -5, 5]), T.BOX, "a negative side"),
    (person(33, keypoints=[20, 10, 2.5] * 17), T.VISIBILITY, "a visibility of 2.5"),
    (person(22, area=-4), T.AREA, "has the area -4"),
    (person(23, area="x"), T.AREA_VALUE, "has 'x' in area"),
    (person(24, image_id=99), T.STRAY, "belongs to image 99"),
    (person(25, image_id=[]), T.IMAGE_ID_OF_ANNOTATION, "has the image_id []"),
    (person(26, iscrowd="x"), T.CROWD, "iscrowd 'x'"),
    (
        person(27, keypoints=[45, 9, 2] + [9, 9, 2] * 16),
        T.OUTSIDE,
        "nose at 45.0, 9.0, outside the 40",
    ),
    (person(28, iscrowd=1, segmentation=[[1, 2]]), T.SEGMENTATION, "three points"),
    (person(29, iscrowd=1, segmentation=[[0, 0, 9, 0, 9, 1e9]]), T.SEGMENTATION, "far outside"),
    (
        person(30, iscrowd=1, segmentation={"size": [30, 40], "counts": [3]}),
        T.SEGMENTATION,
        "covers 3 pixels, not 1200",
    ),
    (
        person(31, iscrowd=1, segmentation={"size": [9, 9], "counts": "11"}),
        T.SEGMENTATION,
        "size is [9, 9], not [30, 40]",
    ),
    (image(2, file_name="lost.png"), T.FILE_MISSING, "has no file 'lost.png'"),
    (image(3, file_name="cut.png"), T.IMAGE_FILE, "cannot be read as an image"),
    (image(4, file_name="2.png", width=30, height=40), T.IMAGE_FILE, "40 x 30 pixels, not 30 x"),
    (image(5, file_name="../2.png"), T.FILE_ELSEWHERE, "found at '2.png'"),
    (image(6, file_name="./1.png"), T.FILE_REUSED, "file_name '1.png', which image 1 also has"),
    (image(7, file_name="2.png", width=0), T.IMAGE_SIZE, "has the size 0 x 30"),
    (image(8, file_name=None), T.FILE_NAME, "has the file_name None"),
]
NAMES = [f"{row['id']} {type_.name}" for row, type_, _ in FAULTY]


@pytest.mark.parametrize(("row", "type_", "detail"), FAULTY, ids=NAMES)
def test_a_faulty_row_has_exactly_its_issue(write, row, type_, detail):
    is_image = "file_name" in row
    rows, images = [person(1)], [image(1)]
    (images if is_image else rows).append(row)
    log = inspect_dataset(*write(rows, images)).log
    assert list(log.issues) == [type_] * len(log.issues)
    assert {detail in issue.detail for issue in log.issues[type_]} == {True}
    if type_ is not T.STRAY:
        noun = "image" if is_image else "annotation"
        assert log.issues[type_][0].where == f"{noun} {row['id']}"


def test_all_issues_are_found_at_once_and_the_first_are_listed(write):
    # a file or image id in several rows would be a separate issue
    images = [image(1), *(row for row, _, _ in FAULTY[:-1] if row.get("id") in (2, 3, 4))]
    rows = [person(1), *(row for row, _, _ in FAULTY if "iscrowd" in row)]
    invalid_rows = [None, 5, [], "x"]
    log = inspect_dataset(*write([*rows, *invalid_rows], [*images, *invalid_rows])).log
    for row, type_, detail in FAULTY:
        if "iscrowd" in row or row["id"] in (2, 3, 4):
            assert any(detail in issue.detail for issue in log.issues[type_])
    assert log.counts[T.ROW] == 2 * len(invalid_rows)
    places = [issue.where for issue in log.issues[T.ROW]]
    assert f"images[{len(images)}]" in places
    assert f"annotations[{len(rows)}]" in places
    lines = list(format_issues(log, 2))
    assert lines[0] == f"error: {log.counts[T.ROW]} x {T.ROW.description}: {T.ROW.advice}"
    assert lines[3] == f"    and {log.counts[T.ROW] - 2} more"
    ranks = [list(Severity).index(Severity(line.split(":")[0])) for line in format_issues(log, 0)
             if not line.startswith(" ")]  # fmt: skip
    assert ranks == sorted(ranks)


def test_a_body_file_has_no_wholebody_keypoints(people):
    file = people / FILES["body"].format("val")
    log = inspect_dataset(file, people / "val2017", WHOLEBODY).log
    rows = json.loads(file.read_text())["annotations"]
    assert set(log.issues) == {T.KEYPOINT_COUNT, T.UNLABELED}
    assert log.counts[T.KEYPOINT_COUNT] == len(rows)
    assert "skeleton=body" in next(format_issues(log, 0))


def test_a_file_without_rows_is_an_unlabeled_file(write):
    _, coverage, log, *_ = inspect_dataset(*write([], []))
    assert (coverage.images, coverage.people, coverage.widths) == (0, 0, (0, 0))
    assert set(log.issues) == {T.UNLABELED}


@pytest.mark.parametrize("text", ["", '{"images": [', "[]", '{"images": []}', "<html>", "null"])
def test_a_file_that_is_not_an_annotation_file_is_refused(tmp_path, text):
    file = tmp_path / "annotations.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"annotations\.json"):
        inspect_dataset(file, tmp_path, BODY)
    with pytest.raises(FileNotFoundError, match=r"lost\.json is missing"):
        inspect_dataset(tmp_path / "lost.json", tmp_path, BODY)


numbers = st.integers() | st.floats() | st.sampled_from([0, 1, 2, 2**63, 10**400])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def corrupted(row):
    """Return rows with a few values of other types, or values that are not rows."""
    changes = st.dictionaries(st.sampled_from(sorted(row)), values, max_size=4)
    return values | changes.map(lambda change: row | change)


@settings(max_examples=100)
@given(
    annotations=st.lists(corrupted(person(5)), max_size=3),
    images=st.lists(corrupted(image(2)), max_size=2),
)
def test_any_row_can_be_inspected_and_files_without_errors_can_be_read(write, annotations, images):
    file, folder, skeleton = write([person(1), *annotations], [image(1), *images])
    _, coverage, log, *_ = inspect_dataset(file, folder, skeleton)
    assert all(line.isprintable() for line in format_issues(log, 1000))
    if log.first_error is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            assert len(read_annotations(file, folder, skeleton)) == coverage.images
            assert read_ground_truth(file, skeleton).crowd.sum() == coverage.crowds


def test_half_of_the_picked_samples_have_a_mask_and_all_have_people(write):
    images = [image(n) for n in range(1, 21)]
    rows = [person(n, image_id=n) for n in range(1, 13)]
    rows += [person(20 + n, image_id=n, iscrowd=1) for n in range(1, 4)]
    file, folder, skeleton = write(rows, images)
    for row in images:
        Image.new("RGB", (40, 30)).save(folder / row["file_name"])
    annotations = read_annotations(file, folder, skeleton)
    image_ids = [images[i]["id"] for i in pick_samples(annotations, 4, 0)]
    assert len(set(image_ids)) == 4
    assert len({1, 2, 3} & set(image_ids)) >= 2
    assert set(image_ids) <= set(range(1, 13))
    assert sorted(pick_samples(annotations, 99, 0)) == list(range(20))


def test_an_image_changes_only_where_its_mask_is_0():
    image = np.full((8, 12, 3), 200, np.uint8)
    mask = np.array([[1, 0, 1], [1, 1, 1]], np.uint8)
    changed = (draw_mask(image, mask) != image).any(axis=-1)
    np.testing.assert_array_equal(changed, np.kron(mask == 0, np.ones((4, 4), bool)))


def test_the_program_prints_statistics_and_draws_samples(people, tmp_path):
    arguments = (
        "data=synthetic",
        f"data.root={people}",
        "input_size=64",
        "samples=3",
        "output=out",
    )
    output = succeeded(run("data_check", *arguments, cwd=tmp_path)).stdout
    assert "synthetic data: coco_wholebody_train_v1.0.json" in output
    assert output.count("no issues") == 2
    assert output.count("longer sides at input_size=64, stride=4") == 2
    assert "advice: " in output
    with Image.open(tmp_path / "out/sheet.png") as sheet:
        assert sheet.width >= 4 * 64  # image, keypoints, mask, heatmaps
        assert sheet.height >= 3 * 64


def test_the_program_fails_on_errors_and_explains_missing_samples(people, tmp_path):
    shutil.copytree(people, tmp_path / "broken")
    file = tmp_path / "broken" / FILES["wholebody"].format("val")
    content = json.loads(file.read_text())
    first, second, *_ = content["annotations"]
    first["face_kpts"], second["area"] = [1.0], -1
    file.write_text(json.dumps(content))
    arguments = ("data=synthetic", "data.root=broken", "split=val", "input_size=64", "output=out")
    result = run("data_check", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert "error: 1, note: 1" in result.stdout
    detail = "has 1 number in face_kpts, but the skeleton has 204"
    assert f"annotation {first['id']} {detail}" in result.stdout
    assert f"annotation {second['id']} has the area -1" in result.stdout
    assert "No samples of val are drawn" in result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out/sheet.png").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("split=val", "the dataset lacks nowhere/annotations/coco_wholebody_val"),
        ("split=test", "unknown split in split=test"),
    ],
)
def test_invalid_options_are_refused_before_annotations_are_read(override, message):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("data_check", ["data.root=nowhere", override])
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        data_check.main.__wrapped__(cfg)


def test_photographs_have_no_issues_and_can_be_drawn(tmp_path):
    if not SAMPLE:
        pytest.skip(
            "set TAGPOSE_COCO_SAMPLE to a folder of photographs, which may not be distributed"
        )
    arguments = ("data=coco_sample", f"data.root={SAMPLE}", "input_size=256", "output=out")
    output = succeeded(run("data_check", *arguments, cwd=tmp_path)).stdout
    assert output.count("no issues") == 1  # train and val are the same file
    assert (tmp_path / "out/sheet.png").exists()


def test_boxes_of_unlabeled_parts_are_outlined_at_their_positions():
    image = np.zeros((40, 60, 3), np.uint8)
    boxes = np.zeros((1, len(WHOLEBODY.disjoint_parts), 4), np.float32)
    boxes[0, 2] = 10, 5, 30, 25
    rows, columns = np.nonzero(draw_boxes(image, boxes, WHOLEBODY).any(-1))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (10, 5, 30, 25)
    assert not image.any()
