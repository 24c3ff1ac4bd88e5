"""Formats of other programs have the documented structure, and their own readers accept them."""

import csv
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from helpers.run_scripts import found_first
from tagpose.inference.formats.controlnet import MIN_SCORE
from tagpose.inference.formats.keypoint_table import KeypointRow
from tagpose.inference.result_writers import (
    FORMATS,
    ResultFilter,
    open_result_writers,
    per_image_files,
)
from tagpose.inference.results import make_pose_result
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.skeletons.keypoint_layouts import HALPE_136, OPENPOSE_COCO_18
from tagpose.structures import Poses

SIZE = (640, 480)
EXTRAS = {"parquet": "pyarrow", "pose": "pose_format"}
INSTALLED = [name for name in FORMATS if importlib.util.find_spec(EXTRAS.get(name, "json"))]


def predictions(count=2, skeleton=WHOLEBODY, seed=0, **changes):
    """Return people with all keypoints inside the image, and keypoint scores from 0.1 to 1."""
    random = np.random.default_rng(seed)
    keypoints = random.uniform((1, 1, 0.1), (*SIZE, 1), (count, skeleton.size, 3))
    scores = np.sort(random.uniform(0.3, 1, count))[::-1]
    result = make_pose_result(
        Poses(keypoints.astype(np.float32), scores.astype(np.float32)), SIZE, skeleton
    )
    return result._replace(**changes)


def triples(numbers):
    return np.array(numbers).reshape(-1, 3)


def json_numbers(content):
    """Return all numbers of a JSON document as text."""
    written = []
    hooks = {"parse_float": written.append, "parse_int": written.append}
    json.loads(json.dumps(content), **hooks)
    return written


# OpenPose


@pytest.mark.parametrize(("layout", "size"), [(None, 25), (OPENPOSE_COCO_18, 18)])
def test_openpose_has_the_documented_lists_of_each_person(layout, size):
    result = predictions()
    document = result.to_openpose(*filter(None, [layout]))
    assert set(document) == {"version", "people"}
    for person in document["people"]:
        sizes = {key: len(values) / 3 for key, values in person.items() if key.endswith("_2d")}
        assert sizes == {
            "pose_keypoints_2d": size,
            "face_keypoints_2d": 70,
            "hand_left_keypoints_2d": 21,
            "hand_right_keypoints_2d": 21,
        }
        assert {len(values) for key, values in person.items() if key.endswith("_3d")} == {0}
        assert person["face_keypoints_2d"][-6:] == 6 * [0]  # pupils
        assert person["person_id"] == [-1]
        assert all(0 <= score <= 1 for score in triples(person["pose_keypoints_2d"])[:, 2])


def test_openpose_without_people_has_an_empty_list():
    assert predictions(0).to_openpose()["people"] == []


def test_openpose_has_empty_lists_for_parts_that_the_skeleton_lacks():
    (person,) = predictions(1, BODY).to_openpose()["people"]
    assert len(person["pose_keypoints_2d"]) == 75
    assert triples(person["pose_keypoints_2d"])[19:].max() == 0  # feet
    assert person["face_keypoints_2d"] == person["hand_left_keypoints_2d"] == []


def test_openpose_has_tracks_as_person_ids():
    people = predictions(2, tracks=(7, None)).to_openpose()["people"]
    assert [person["person_id"] for person in people] == [[7], [-1]]


def test_pose_format_reads_the_openpose_files_of_a_video(tmp_path):
    pytest.importorskip("pose_format")
    from pose_format.utils.openpose import load_openpose_directory

    frames = [predictions(2, seed=3), predictions(0), predictions(1, seed=4)]
    with open_result_writers(tmp_path, ["openpose"], name="clip_{:012d}".format) as write:
        for number, frame in enumerate(frames):
            write(number, {}, frame)
    read = load_openpose_directory(str(tmp_path / "openpose"), 25, *SIZE)
    assert read.body.data.shape == (3, 2, 25 + 70 + 42, 2)
    nose = read.body.data[2, 0, 0].filled(0)
    assert nose == pytest.approx(frames[2].keypoints[0, 0, :2], abs=0.01)
    assert read.body.data.mask[1].all()


# ControlNet


def decode_controlnet(document):
    """Decode poses like ComfyUI's node (comfyui_controlnet_aux, `decode_json_as_poses`).

    Lists contain triples; keypoints with confidences below 1 and parts that are None are missing.
    """
    assert {document["canvas_height"], document["canvas_width"]} == {SIZE[1], SIZE[0]}
    keys = ("pose", "face", "hand_left", "hand_right")
    lists = [[person[f"{key}_keypoints_2d"] for key in keys] for person in document["people"]]
    return [
        [
            None if numbers is None else [t if t[2] >= 1 else None for t in triples(numbers)]
            for numbers in person
        ]
        for person in lists
    ]


def test_controlnet_has_18_70_21_and_21_keypoints_and_the_canvas():
    for person in decode_controlnet(predictions().to_controlnet()):
        assert [len(part) for part in person] == [18, 70, 21, 21]


def test_controlnet_keypoints_below_the_threshold_are_zero_and_the_others_one():
    result = predictions(1)
    (person,) = result.to_controlnet()["people"]
    left = triples(person["hand_left_keypoints_2d"])
    expected = result.keypoints[0, WHOLEBODY.parts["lefthand"]]
    present = expected[:, 2] >= MIN_SCORE
    assert 0 < present.sum() < len(present)
    assert (left[present, 2] == 1).all()
    assert left[present, :2] == pytest.approx(expected[present, :2], abs=0.01)
    assert not left[~present].any()


def test_controlnet_has_the_eyes_of_the_body_as_pupils():
    (person,) = predictions(1, seed=1).to_controlnet()["people"]
    body, face = (triples(person[f"{key}_keypoints_2d"]) for key in ("pose", "face"))
    assert (face[68] == body[OPENPOSE_COCO_18.keypoints.index("REye")]).all()
    assert (face[69] == body[OPENPOSE_COCO_18.keypoints.index("LEye")]).all()


def test_controlnet_has_null_for_empty_parts_but_always_a_list_for_the_body():
    (person,) = decode_controlnet(predictions(1).select(["lefthand"]).to_controlnet())
    body, face, left, right = person
    assert body == 18 * [None]
    assert face is None
    assert right is None
    assert any(keypoint is not None for keypoint in left)


def test_controlnet_drops_people_without_keypoints_above_the_threshold():
    faint = predictions(1)
    faint.keypoints[..., 2] = 0.2
    assert faint.to_controlnet()["people"] == []
    assert predictions(0).to_controlnet()["people"] == []


def test_the_dwpose_image_has_left_and_right_limbs_in_different_colors_on_black():
    keypoints = np.zeros((1, WHOLEBODY.size, 3), np.float32)
    for name, x, y in (
        ("left_shoulder", 400, 100), ("right_shoulder", 200, 100),
        ("left_elbow", 400, 300), ("right_elbow", 200, 300),
    ):  # fmt: skip
        keypoints[0, WHOLEBODY.keypoints.index(name)] = x, y, 0.9
    result = make_pose_result(Poses(keypoints, np.ones(1, np.float32)), SIZE, WHOLEBODY)
    image = result.to_dwpose_image()
    assert image.shape == (SIZE[1], SIZE[0], 3)
    assert image[200, 200].tolist() == [153, 102, 0]  # 0.6 x (255, 170, 0), right upper arm
    assert image[200, 400].tolist() == [102, 153, 0]  # 0.6 x (170, 255, 0), left upper arm
    assert image[100, 300].tolist() == [255, 85, 0]  # neck keypoint
    assert not image[200, 300].any()


# Tables


def test_a_table_has_one_row_per_present_keypoint():
    result = predictions(2, tracks=(4, None)).select(min_keypoint_score=0.5)
    rows = result.to_table("a.jpg")
    assert len(rows) == (result.keypoints[..., 2] > 0).sum()
    first = rows[0]
    k = WHOLEBODY.keypoints.index(first.keypoint)
    assert first[:3] == ("a.jpg", 0, 4)
    assert first[4:6] == pytest.approx(result.keypoints[0, k, :2], abs=0.01)
    assert {(row.person, row.track) for row in rows} == {(0, 4), (1, None)}


def test_the_standard_library_and_pandas_read_csv(tmp_path):
    with open_result_writers(tmp_path, ["csv"]) as write:
        write(0, {"file": 'odd, "name".jpg'}, predictions(2))
        write(1, {"file": "b.jpg"}, predictions(0))
    with (tmp_path / "keypoints.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == KeypointRow._fields
    assert {row["image"] for row in rows} == {'odd, "name".jpg'}
    table = pytest.importorskip("pandas").read_csv(tmp_path / "keypoints.csv")
    assert len(table) == 2 * WHOLEBODY.size
    assert table.groupby("person")["x"].count().tolist() == 2 * [WHOLEBODY.size]
    assert table["score"].between(0, 1).all()


def test_parquet_has_the_same_rows_as_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    with open_result_writers(tmp_path, ["csv", "parquet"]) as write:
        write(0, {}, predictions(2, tracks=(1, None)))
        write(1, {}, predictions(0))
    table = pyarrow.read_table(tmp_path / "keypoints.parquet").to_pylist()
    with (tmp_path / "keypoints.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["keypoint"] for row in table] == [row["keypoint"] for row in rows]
    assert [row["track"] for row in table] == [
        int(r["track"]) if r["track"] else None for r in rows
    ]
    assert [row["x"] for row in table] == pytest.approx([float(row["x"]) for row in rows])


def test_parquet_without_people_has_the_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    with open_result_writers(tmp_path, ["parquet"]) as write:
        write(0, {}, predictions(0))
    table = pyarrow.read_table(tmp_path / "keypoints.parquet")
    assert (table.num_rows, tuple(table.column_names)) == (0, KeypointRow._fields)


# COCO


def test_pycocotools_reads_the_results_of_selected_parts(tmp_path):
    with open_result_writers(tmp_path, ["coco"], result_filter=ResultFilter(["body"])) as write:
        write(1, {}, predictions(2))
        write(2, {}, predictions(0))
    ground_truth = COCO()
    ground_truth.dataset = {
        "images": [{"id": 1}, {"id": 2}],
        "annotations": [],
        "categories": [{"id": 1}],
    }
    ground_truth.createIndex()
    rows = ground_truth.loadRes(str(tmp_path / "results.json")).anns.values()
    assert {row["image_id"] for row in rows} == {1}
    for row in rows:
        assert len(row["keypoints"]) == 51
        assert not any(row["face_kpts"])


# .pose


def test_pose_files_are_read_by_pose_format_with_the_header_of_133(tmp_path):
    pose_format = pytest.importorskip("pose_format")
    result = predictions(2).select(min_keypoint_score=0.5)
    with open_result_writers(tmp_path, ["pose"]) as write:
        write(3, {}, result)
        write(4, {}, predictions(0))
    read = pose_format.Pose.read((tmp_path / "pose/000000000003.pose").read_bytes())
    dimensions = read.header.dimensions
    assert (dimensions.width, dimensions.height) == SIZE
    names = [point for part in read.header.components for point in part.points]
    assert len(names) == WHOLEBODY.size
    assert tuple(names[:91]) == WHOLEBODY.keypoints[:91]
    assert read.body.data.filled(0)[0] == pytest.approx(result.keypoints[..., :2])
    assert (read.body.data.mask[0, ..., 0] == (result.keypoints[..., 2] == 0)).all()
    empty = pose_format.Pose.read((tmp_path / "pose/000000000004.pose").read_bytes())
    assert empty.body.data.mask.all()


def test_a_pose_file_of_a_video_has_each_track_at_the_same_index(tmp_path):
    pose_format = pytest.importorskip("pose_format")
    frames = [
        predictions(1, tracks=(5,)),
        predictions(3, seed=1, tracks=(None, 2, 5)),
        predictions(2, seed=2, tracks=(2, 5)),
    ]
    with open_result_writers(tmp_path, ["pose"], rate=12.5) as write:
        for number, frame in enumerate(frames):
            write(number, {}, frame)
    body = pose_format.Pose.read((tmp_path / "keypoints.pose").read_bytes()).body
    assert body.fps == 12.5
    assert body.confidence.shape == (3, 3, WHOLEBODY.size)
    for number, person in enumerate((0, 2, 1)):  # track 5, the longest, is first
        expected = frames[number].keypoints[person, :, 2]
        assert body.confidence[number, 0] == pytest.approx(expected)
    assert body.confidence[1, 2] == pytest.approx(frames[1].keypoints[0, :, 2])
    assert not body.confidence[0, 1:].any()


def test_a_pose_file_of_another_skeleton_is_an_error(tmp_path):
    pytest.importorskip("pose_format")
    raises = pytest.raises(ValueError, match="have 133 keypoints; skeleton 'body' has 17")
    with raises, open_result_writers(tmp_path, ["pose"]) as write:
        write(0, {}, predictions(1, BODY))


# All formats


@pytest.mark.parametrize("format_name", INSTALLED)
def test_every_format_writes_images_with_and_without_people(tmp_path, format_name):
    with open_result_writers(tmp_path, [format_name], name="in/{:03d}".format) as write:
        write(0, {}, predictions(2))
        write(1, {}, predictions(0))
    for number in (0, 1):
        for file in per_image_files(tmp_path, [format_name], f"in/{number:03d}"):
            assert file.stat().st_size > 0
    assert not [file for file in tmp_path.rglob("*") if ".tmp" in file.name]


def test_an_unknown_format_is_an_error_that_lists_the_formats(tmp_path):
    with pytest.raises(ValueError, match="unknown format 'opnpose'; use one of coco"):
        open_result_writers(tmp_path, ["pictures", "opnpose"]).__enter__()


@pytest.mark.parametrize("format_name", ["openpose", "controlnet", "csv", "dwpose"])
def test_files_contain_the_selected_people_parts_and_keypoints(tmp_path, format_name):
    result_filter = ResultFilter(
        ["body", "lefthand"], min_person_score=0.58, min_keypoint_score=0.4
    )
    result = predictions(3, seed=5)
    assert (result.scores < 0.58).any()
    with open_result_writers(
        tmp_path / "filtered", [format_name], result_filter=result_filter
    ) as write:
        write(0, {}, result)
    with open_result_writers(tmp_path / "all", [format_name]) as write:
        write(
            0, {}, result.select(result_filter.parts, min_person_score=0.58, min_keypoint_score=0.4)
        )
    written, expected = (
        {file.name: file.read_bytes() for file in (tmp_path / folder).rglob("*.*")}
        for folder in ("filtered", "all")
    )
    assert written == expected


def test_unfiltered_formats_contain_all_people(tmp_path):
    result_filter = ResultFilter(min_person_score=2.0, unfiltered=("coco",))
    with open_result_writers(tmp_path, ["coco", "jsonl"], result_filter=result_filter) as write:
        write(0, {}, predictions(3))
    assert len(json.loads((tmp_path / "results.json").read_text())) == 3
    assert json.loads((tmp_path / "people.jsonl").read_text())["people"] == []


@pytest.mark.parametrize("convert", ["to_openpose", "to_controlnet"])
def test_numbers_are_short_and_zero_has_no_decimals(convert):
    result = predictions(2).select(min_keypoint_score=0.5)
    numbers = json_numbers(getattr(result, convert)())
    assert max(map(len, numbers)) <= len("640.12")
    assert "0" in numbers
    assert "0.0" not in numbers


def test_selected_parts_do_not_change_scores_and_other_parts_are_missing():
    result = predictions(2)
    hand = result.select(["lefthand"])
    at = WHOLEBODY.parts["lefthand"]
    assert (hand.keypoints[:, at] == result.keypoints[:, at]).all()
    assert (hand.keypoints[..., 2] > 0).sum() == 2 * 21
    assert (hand.scores == result.scores).all()
    low = result.keypoints[:, at, :2].min(1)
    assert hand.boxes[:, :2] == pytest.approx(low)


def test_people_without_selected_keypoints_are_dropped_with_their_tracks():
    result = predictions(2, tracks=(1, 2))
    result.keypoints[0, WHOLEBODY.parts["face"]] = 0
    assert result.select(["face"]).tracks == (2,)


def test_an_unknown_part_is_an_error_that_lists_the_parts():
    with pytest.raises(
        ValueError, match="unknown part 'hand'; skeleton 'wholebody' has body, foot"
    ):
        predictions().select(["hand"])


def test_keypoints_of_a_custom_skeleton_are_converted_by_name():
    skeleton = make_custom_skeleton("arm", ["left_wrist", "marker"], [0.05, 0.05], flip_pairs=[])
    (person,) = predictions(1, skeleton).to_openpose()["people"]
    present = [k for k, row in enumerate(triples(person["pose_keypoints_2d"])) if row[2] > 0]
    assert present == [7]  # LWrist


def test_predictions_convert_to_any_layout():
    assert predictions(2).to_layout(HALPE_136).shape == (2, 136, 3)


def test_predictions_can_be_resized_with_the_image():
    result = predictions(2).resize((320, 240))
    restored = result.resize(SIZE)
    assert result.size == (320, 240)
    assert restored.keypoints == pytest.approx(predictions(2).keypoints, abs=1e-3)


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "parquet"), ("pose_format", "pose")])
def test_a_missing_package_is_an_error_with_the_install_command(tmp_path, module, name):
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})")
    code = (
        "from pathlib import Path; from tagpose.inference.result_writers import open_result_writers"
        f"; open_result_writers(Path('results'), [{name!r}]).__enter__()"
    )
    command = [sys.executable, "-c", code]
    environment = found_first(tmp_path)
    process = subprocess.run(
        command, env=environment | {"PATH": ""}, text=True, capture_output=True, check=False
    )
    assert process.returncode == 1
    assert "pip install" in process.stderr.splitlines()[-1]


def test_the_dwpose_file_is_an_image_of_the_same_size(tmp_path):
    with open_result_writers(tmp_path, ["dwpose"]) as write:
        write(0, {}, predictions(1))
    with Image.open(*per_image_files(tmp_path, ["dwpose"], f"{0:012d}")) as picture:
        assert (picture.size, picture.format) == (SIZE, "PNG")
