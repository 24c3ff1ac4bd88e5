"""What is wrong with a data set is found all at once, and what is sound is counted."""

import json
import os
import shutil
from collections import Counter
from runpy import run_path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tagpose.data.inspection.kinds import listing

from running import ROOT, run, succeeded
from tagpose.data.annotations import read_annotations
from tagpose.data.inspection import Kind, inspect
from tagpose.data.inspection.samples import choose
from tagpose.drawing.samples import draw_boxes, draw_mask
from tagpose.evaluation.truth import read_truth
from tagpose.official_skeletons import BODY, SKELETONS, WHOLEBODY

SAMPLE = os.environ.get("TAGPOSE_COCO_SAMPLE")  # a folder with images/ and wholebody.json
FILES = {
    "body": "annotations/person_keypoints_{}2017.json",
    "wholebody": "annotations/coco_wholebody_{}_v1.0.json",
}


def image(number, **changes):
    return {"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} | changes


def person(number, **changes):
    """A row in which all is sound: a body in the middle of a 40 x 30 image, no other part."""
    row = {
        "id": number,
        "image_id": 1,
        "iscrowd": 0,
        "area": 100.0,
        "bbox": [10.0, 10.0, 10.0, 10.0],
        "segmentation": [],
    }
    for field, at in WHOLEBODY.fields.items():
        row[field] = [20.0, 10.0, 2.0 if field == "keypoints" else 0.0] * (at.stop - at.start)
    row |= {f"{part}_valid": False for part in WHOLEBODY.limbs if part != "body"}
    return row | changes


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write rows as an annotation file beside pictures; returns what is to be inspected."""
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
def test_synthetic_people_have_no_faults_and_their_counts_add_up(people, split, skeleton):
    file = people / FILES[skeleton.name].format(split)
    description, coverage, faults = inspect(file, people / f"{split}2017", skeleton)
    assert description == "synthetic data"
    assert list(listing(faults, 5)) == []
    rows = json.loads(file.read_text())["annotations"]
    assert coverage.images == {"train": 12, "val": 6}[split]
    assert coverage.people + coverage.crowds == len(rows)
    assert coverage.small + coverage.medium + coverage.large == coverage.people
    for part, at in skeleton.limbs.items():
        counted = coverage.parts[part]
        assert counted.labelled + counted.unlabelled == coverage.people
        assert sum(counted.values) == coverage.people * (at.stop - at.start)
        assert counted.keypoints == sum(counted.values) - counted.values.zero
    labelled = sum(row["num_keypoints"] for row in rows if not row["iscrowd"])
    assert coverage.parts["body"].keypoints == labelled


def test_people_crowds_sizes_and_visibilities_are_counted_apart(write):
    values = np.resize([0, 0.02, 1, 1.5, 2, 3, -1], WHOLEBODY.size)
    mixed = np.array(person(1)["face_kpts"]).reshape(-1, 3)
    mixed[:, 2] = values[: len(mixed)]
    rows = [
        person(1, face_kpts=mixed.ravel().tolist(), face_valid=True, area=1023.9),
        person(2, area=1024, keypoints=[0] * 51),
        person(3, area=9216),
        person(4, iscrowd=1),
    ]
    _, coverage, faults = inspect(*write(rows, [image(1), image(2)]))
    ((kind, (fault,)),) = faults.items()
    assert kind is Kind.VISIBILITY
    assert fault == ("annotation 1", "face-5 has the v 3, not from 0 to 2")
    assert (coverage.images, coverage.empty, coverage.widths) == (2, 1, (40, 40))
    assert (coverage.people, coverage.crowds, coverage.without_keypoints) == (3, 1, 1)
    assert (coverage.small, coverage.medium, coverage.large) == (1, 1, 1)
    seen = Counter(mixed[:, 2].tolist())
    unlabelled = 2 * len(mixed) + seen[0]
    assert coverage.parts["face"].values == (
        unlabelled, seen[0.02], seen[1], seen[1.5], seen[2], seen[3] + seen[-1],
    )  # fmt: skip


BROKEN = [  # each alone in its row
    (person(11, face_kpts=[0.0] * 12), Kind.LENGTH, "face_kpts has the length 12, not 204"),
    (person(12, keypoints=None), Kind.LENGTH, "keypoints is None, not 51 numbers"),
    (person(13, keypoints=[float("nan")] * 51), Kind.VALUE, "nan in keypoints as number 0"),
    (person(14, foot_kpts=[0.0] * 17 + ["1"]), Kind.VALUE, "'1' in foot_kpts as number 17"),
    (person(15, keypoints=[0, 1e39] + [0.0] * 49), Kind.VALUE, "1e+39 in keypoints as number 1"),
    (person(16, face_valid=True), Kind.FLAG, "face_valid is True, but no v is above 0"),
    (person(17, foot_kpts=[9, 9, 0.02] * 6), Kind.FLAG, "is False, but some v is above 0"),
    (person(18, foot_valid="no"), Kind.FLAG, "foot_valid is 'no'"),
    (person(19, bbox=[10, 10, 31.5, 5]), Kind.BOX_PLACE, "outside of its image"),
    (person(20, bbox=[10, 10, 0, 5]), Kind.BOX_PLACE, "has no area"),
    (person(21, bbox=[10, 10, 5]), Kind.BOX, "not four finite numbers"),
    (person(32, bbox=[10, 10, -5, 5]), Kind.BOX, "has a side below 0"),
    (person(33, keypoints=[20, 10, 2.5] * 17), Kind.VISIBILITY, "nose has the v 2.5, not from 0"),
    (person(22, area=-4), Kind.AREA, "area is -4"),
    (person(23, area="9"), Kind.AREA_VALUE, "area is '9'"),
    (person(24, image_id=99), Kind.STRAY, "no image has the id 99"),
    (person(25, image_id="1"), Kind.ANNOTATION_ROW, "image_id is '1', no whole number"),
    (person(26, iscrowd="0"), Kind.ANNOTATION_ROW, "iscrowd is '0', not 0 or 1"),
    (
        person(27, keypoints=[45, 9, 2] + [9, 9, 2] * 16),
        Kind.OUTSIDE,
        "nose at 45.0, 9.0, not on 40 x 30",
    ),
    (person(28, iscrowd=1, segmentation=[[1, 2]]), Kind.SEGMENTATION, "not three points"),
    (person(29, iscrowd=1, segmentation=[[0, 0, 9, 0, 9, 1e9]]), Kind.SEGMENTATION, "leaves"),
    (
        person(30, iscrowd=1, segmentation={"size": [30, 40], "counts": [3]}),
        Kind.SEGMENTATION,
        "covers 3 pixels, not 1200",
    ),
    (
        person(31, iscrowd=1, segmentation={"size": [9, 9], "counts": "11"}),
        Kind.SEGMENTATION,
        "size [9, 9], not [30, 40]",
    ),
    (image(2, file_name="lost.png"), Kind.MISSING, "lost.png' is missing"),
    (image(3, file_name="cut.png"), Kind.PICTURE, "cannot be read as a picture"),
    (image(4, file_name="2.png", width=30, height=40), Kind.PICTURE, "40 x 30 pixels, not 30 x"),
    (image(5, file_name="../1.png"), Kind.IMAGE_ROW, "file_name is '../1.png'"),
    (image(6, file_name="./1.png"), Kind.FILE_NAME, "'1.png' stands in the rows [0, 1]"),
    (image(7, file_name="2.png", width=0), Kind.IMAGE_ROW, "its size is 0 x 30"),
]
NAMES = [f"{row['id']} {kind.name}" for row, kind, _ in BROKEN]


@pytest.mark.parametrize(("row", "kind", "says"), BROKEN, ids=NAMES)
def test_a_fault_is_told_once_and_nothing_else_is(write, row, kind, says):
    is_image = "file_name" in row
    rows, images = [person(1)], [image(1)]
    (images if is_image else rows).append(row)
    ((found, (fault,)),) = inspect(*write(rows, images)).faults.items()
    assert found is kind
    assert fault.where.endswith(f"{'image' if is_image else 'annotation'} {row['id']}")
    assert says in fault.what


def test_all_faults_of_a_file_are_found_at_once_and_the_first_are_shown(write):
    images = [image(1), *(row for row, _, _ in BROKEN if "file_name" in row)]
    rows = [person(1), *(row for row, _, _ in BROKEN if "iscrowd" in row)]
    no_objects = [None, 5, [], "x"]
    rows_and_more = [*rows, person(1), person(None), *no_objects]
    found = inspect(*write(rows_and_more, [*images, image(1), *no_objects])).faults
    assert set(found) == set(Kind)
    for row, kind, says in BROKEN:
        ends = f" {row['id']}"
        assert any(f.where.endswith(ends) and says.split("[")[0] in f.what for f in found[kind])
    for place in range(len(no_objects)):
        assert f"images[{len(images) + 1 + place}]" in [f.where for f in found[Kind.IMAGE_ROW]]
    told = list(listing(found, 2))
    assert told[0] == f"{len(found[Kind.IMAGE_ROW])} x {Kind.IMAGE_ROW.value}"
    assert told[3] == f"    and {len(found[Kind.IMAGE_ROW]) - 2} more"
    assert len(list(listing(found, 0))) == 2 * len(Kind)


def test_a_whole_body_is_not_found_in_a_file_of_the_body(people):
    file = people / FILES["body"].format("val")
    faults = inspect(file, people / "val2017", WHOLEBODY).faults
    rows = json.loads(file.read_text())["annotations"]
    assert set(faults) == {Kind.LENGTH}
    assert len(faults[Kind.LENGTH]) == len(rows) * (len(WHOLEBODY.fields) - 1)
    assert "skeleton=body" in next(listing(faults, 0))


def test_a_file_without_rows_has_no_faults_and_nobody(write):
    _, coverage, faults = inspect(*write([], []))
    assert (coverage.images, coverage.people, coverage.widths, faults) == (0, 0, (0, 0), {})


@pytest.mark.parametrize("text", ["", '{"images": [', "[]", '{"images": []}', "<html>", "null"])
def test_only_what_is_no_annotation_file_ends_the_inspection(tmp_path, text):
    file = tmp_path / "annotations.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"annotations\.json"):
        inspect(file, tmp_path, BODY)
    with pytest.raises(FileNotFoundError, match=r"lost\.json is missing"):
        inspect(tmp_path / "lost.json", tmp_path, BODY)


numbers = st.integers() | st.floats() | st.sampled_from([0, 1, 2, 2**63, 10**400])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def spliced(row):
    """Rows with a few fields of another sort, or something that is no row at all."""
    changes = st.dictionaries(st.sampled_from(sorted(row)), values, max_size=4)
    return values | changes.map(lambda changed: row | changed)


@settings(max_examples=100)
@given(
    annotations=st.lists(spliced(person(5)), max_size=3),
    images=st.lists(spliced(image(2)), max_size=2),
)
def test_no_row_breaks_the_inspection_and_what_has_no_fault_can_be_read(write, annotations, images):
    file, folder, skeleton = write([person(1), *annotations], [image(1), *images])
    _, coverage, faults = inspect(file, folder, skeleton)
    assert all(line.isprintable() for line in listing(faults, 1000))
    if not faults:
        assert len(read_annotations(file, folder, skeleton)) == coverage.images
        assert read_truth(file, skeleton).crowd.sum() == coverage.crowds


def test_half_of_the_chosen_images_have_a_mask_and_all_have_people(write):
    images = [image(n) for n in range(1, 21)]
    rows = [person(n, image_id=n) for n in range(1, 13)]
    rows += [person(20 + n, image_id=n, iscrowd=1) for n in range(1, 4)]
    file, folder, skeleton = write(rows, images)
    for one in images:
        Image.new("RGB", (40, 30)).save(folder / one["file_name"])
    annotations = read_annotations(file, folder, skeleton)
    chosen = [images[place]["id"] for place in choose(annotations, 4, 0)]
    assert len(set(chosen)) == 4
    assert len({1, 2, 3} & set(chosen)) >= 2
    assert set(chosen) <= set(range(1, 13))
    assert sorted(choose(annotations, 99, 0)) == list(range(20))


def test_an_image_is_veiled_where_its_mask_is_0_and_left_as_it_is_elsewhere():
    picture = np.full((8, 12, 3), 200, np.uint8)
    mask = np.array([[1, 0, 1], [1, 1, 1]], np.uint8)
    changed = (draw_mask(picture, mask) != picture).any(axis=-1)
    np.testing.assert_array_equal(changed, np.kron(mask == 0, np.ones((4, 4), bool)))


def test_the_program_prints_counts_and_draws_what_the_network_sees(people, tmp_path):
    arguments = ("data=synthetic", f"data.root={people}", "side=64", "samples=3", "output=out")
    told = succeeded(run("inspect_data", *arguments, cwd=tmp_path)).stdout
    assert "synthetic data: coco_wholebody_train_v1.0.json" in told
    assert told.count("no faults") == 2
    with Image.open(tmp_path / "out/sheet.png") as sheet:
        assert sheet.width >= 4 * 64  # image, keypoints, mask, heatmaps
        assert sheet.height >= 3 * 64


def test_the_program_fails_where_there_are_faults_and_says_why_it_draws_nothing(people, tmp_path):
    shutil.copytree(people, tmp_path / "broken")
    file = tmp_path / "broken" / FILES["wholebody"].format("val")
    content = json.loads(file.read_text())
    first, second, *_ = content["annotations"]
    first["face_kpts"], second["area"] = [1.0], -1
    file.write_text(json.dumps(content))
    arguments = ("data=synthetic", "data.root=broken", "split=val", "side=64", "output=out")
    result = run("inspect_data", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert "2 faults" in result.stdout
    assert f"annotation {first['id']}: face_kpts has the length 1, not 204" in result.stdout
    assert f"annotation {second['id']}: area is -1" in result.stdout
    assert "no sample of val is drawn" in result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out/sheet.png").exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("split=val", "the data set lacks nowhere/annotations/coco_wholebody_val"),
        ("split=test", "split=test is neither train, nor val"),
        ("faults=-1", "faults=-1 is no number from 0 on"),
    ],
)
def test_what_cannot_be_inspected_is_said_before_anything_is_read(override, says):
    program = run_path(str(ROOT / "scripts/inspect_data.py"))
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("inspect", ["data.root=nowhere", override])
    with pytest.raises((FileNotFoundError, ValueError), match=says):
        program["inspect_data"](cfg)


def test_photographs_have_no_faults_and_can_be_drawn(tmp_path):
    if not SAMPLE:
        pytest.skip("TAGPOSE_COCO_SAMPLE names no folder of photographs, which may not be shipped")
    arguments = ("data=coco_sample", f"data.root={SAMPLE}", "side=256", "output=out")
    told = succeeded(run("inspect_data", *arguments, cwd=tmp_path)).stdout
    assert told.count("no faults") == 1  # both halves are the same file
    assert (tmp_path / "out/sheet.png").exists()


def test_boxes_of_unlabelled_parts_are_outlined_where_they_are():
    picture = np.zeros((40, 60, 3), np.uint8)
    boxes = np.zeros((1, len(WHOLEBODY.limbs), 4), np.float32)
    boxes[0, 2] = 10, 5, 30, 25
    rows, columns = np.nonzero(draw_boxes(picture, boxes, WHOLEBODY).any(-1))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (10, 5, 30, 25)
    assert not picture.any()
