"""The laws of the synthetic people: the files, the pictures, and what they can tell apart."""

import json

import cv2
import numpy as np
import pytest

from tagpose.data.annotations import read_annotations
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.data.synthetic.pose import KEYPOINT_INDEX, random_pose
from tagpose.data.synthetic.renderer import FigureCanvas, Placement, random_clothes, render_figure
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.skeletons.coco import BODY, SKELETONS, WHOLEBODY
from tagpose.structures import Poses

FILES = {
    "body": "annotations/person_keypoints_{}2017.json",
    "wholebody": "annotations/coco_wholebody_{}_v1.0.json",
}
# what the official files have, whatever else stands there
COMMON = {
    "id",
    "image_id",
    "category_id",
    "bbox",
    "area",
    "segmentation",
    "iscrowd",
    "num_keypoints",
}
BOXED = ("face", "lefthand", "righthand")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Root of a set with enough people to see their laws."""
    root = tmp_path_factory.mktemp("drawn") / "synthetic"
    write_synthetic_dataset(root, train=120, val=8, processes=1)
    return root


def content(root, skeleton="wholebody", split="train"):
    return json.loads((root / FILES[skeleton].format(split)).read_text())


def bytes_of(root):
    files = (file for file in root.rglob("*") if file.is_file())
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def annotated(root):
    """Row, keypoints [K, 3], width and height of everybody who is no crowd."""
    file = content(root)
    sizes = {image["id"]: (image["width"], image["height"]) for image in file["images"]}
    for row in file["annotations"]:
        flat = [value for field in WHOLEBODY.json_keys for value in row[field]]
        if not row["iscrowd"]:
            yield row, np.reshape(flat, (-1, 3)), sizes[row["image_id"]]


def test_one_seed_draws_the_same_bytes_on_one_and_on_two_processes(tmp_path):
    for processes in (1, 2):
        root = tmp_path / str(processes)
        write_synthetic_dataset(root, train=20, val=3, image_size=96, seed=3, processes=processes)
    write_synthetic_dataset(tmp_path / "other", train=20, val=3, image_size=96, seed=4, processes=1)
    once, again, other = (bytes_of(tmp_path / name) for name in ("1", "2", "other"))
    assert once == again
    assert once.keys() == other.keys()
    assert once != other


def test_no_picture_is_drawn_twice_and_no_id_is_given_twice(drawn):
    pictures = [file.read_bytes() for file in drawn.rglob("*.jpg")]
    assert len(set(pictures)) == len(pictures) == 128
    ids = [
        image["id"]
        for split in ("train", "val")
        for image in content(drawn, "body", split)["images"]
    ]
    assert len(set(ids)) == len(ids)


def test_a_set_that_stands_is_not_overwritten_and_half_a_set_is_not_left(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(FileExistsError, match="already"):
        write_synthetic_dataset(tmp_path / "set", train=1, val=1, processes=1)
    with pytest.raises(ValueError, match="negative"):
        write_synthetic_dataset(tmp_path / "half", train=1, val=1, image_size=-1, processes=1)
    assert [folder.name for folder in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_files_are_read_as_the_official_ones(drawn, name, split):
    skeleton = SKELETONS[name]
    records = read_annotations(drawn / FILES[name].format(split), drawn / f"{split}2017", skeleton)
    assert len(records.files) == len(list((drawn / f"{split}2017").iterdir()))
    rows = content(drawn, name, split)["annotations"]
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row.keys() >= COMMON | skeleton.json_keys.keys() for row in rows)
    (category,) = content(drawn, name, split)["categories"]
    assert tuple(category["keypoints"]) == BODY.keypoints
    assert np.min(category["skeleton"]) == 1
    assert np.max(category["skeleton"]) == BODY.size


def test_pictures_have_the_size_that_the_file_says(drawn):
    for image in content(drawn)["images"]:
        shape = cv2.imread(str(drawn / "train2017" / image["file_name"])).shape
        assert shape == (image["height"], image["width"], 3)


def test_counts_flags_boxes_and_masks_agree_with_the_keypoints(drawn):
    for row, keypoints, (width, height) in annotated(drawn):
        labelled = keypoints[:, 2] > 0
        assert row["num_keypoints"] == labelled[: BODY.size].sum()
        assert not keypoints[~labelled].any()
        # a pixel reaches half a pixel to either side of its centre
        assert (np.abs(keypoints[labelled, :2] / [width - 1, height - 1] - 0.5) < 0.505).all()
        for part in ("foot", *BOXED):
            assert row[f"{part}_valid"] == labelled[WHOLEBODY.disjoint_parts[part]].any()
        for part in BOXED:
            x, y, w, h = row[f"{part}_box"]
            points = keypoints[WHOLEBODY.disjoint_parts[part]][
                labelled[WHOLEBODY.disjoint_parts[part]], :2
            ]
            assert (points >= [x - 0.02, y - 0.02]).all()
            assert (points <= [x + w + 0.02, y + h + 0.02]).all()
        assert all(len(line) >= 6 and len(line) % 2 == 0 for line in row["segmentation"])
        assert 0 < row["area"] <= row["bbox"][2] * row["bbox"][3]


def test_the_set_has_what_real_ones_have(drawn):
    rows = list(annotated(drawn))
    areas = np.array([row["area"] for row, _, _ in rows])
    assert (areas > 96**2).any()
    assert ((areas > 32**2) & (areas < 96**2)).any()
    assert {0, 1, 2} == {v for _, keypoints, _ in rows for v in keypoints[:, 2]}
    assert any(row["num_keypoints"] == 0 for row, _, _ in rows)
    assert any(row["iscrowd"] for row in content(drawn)["annotations"])
    for part in ("foot", *BOXED):
        assert 0 < np.mean([row[f"{part}_valid"] for row, _, _ in rows]) < 1


def test_left_and_right_can_be_told_from_looks(drawn):
    ears = [KEYPOINT_INDEX["left_ear"], KEYPOINT_INDEX["right_ear"]]
    eyes = [KEYPOINT_INDEX["left_eye"], KEYPOINT_INDEX["right_eye"]]
    seen = {True: 0, False: 0}
    for _, keypoints, _ in annotated(drawn):
        if not (keypoints[ears, 2] > 0).all():
            continue
        shows_a_face = bool(keypoints[KEYPOINT_INDEX["nose"], 2] > 0)
        if shows_a_face:
            assert keypoints[eyes[0], 0] > keypoints[eyes[1], 0]
        left_ear, right_ear = keypoints[ears, 0]
        assert (left_ear > right_ear) == shows_a_face
        assert shows_a_face or not keypoints[WHOLEBODY.disjoint_parts["face"]].any()
        seen[shows_a_face] += 1
    assert min(seen.values()) > 0


def test_hands_of_one_side_are_all_alike_and_flipped_on_the_other():
    turns = []
    for seed in range(40):
        figure = random_pose(np.random.default_rng(seed))
        for side in ("left", "right"):
            root, thumb, little = (
                figure.points[KEYPOINT_INDEX[f"{side}_{at}"]]
                for at in ("hand_root", "thumb4", "pinky_finger1")
            )
            (a, b), (c, d) = thumb - root, little - root
            behind = -1 if figure.from_behind else 1
            turns.append(np.sign(a * d - b * c) * behind * (1 if side == "left" else -1))
    assert len(set(turns)) == 1


def test_what_is_drawn_is_where_the_keypoint_is():
    checked = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        figure, clothes = random_pose(random), random_clothes(random)
        arms = figure.points[
            [k for name, k in KEYPOINT_INDEX.items() if "hand" in name or "elbow" in name]
        ]
        eyes = figure.points[[KEYPOINT_INDEX["left_eye"], KEYPOINT_INDEX["right_eye"]]]
        if figure.from_behind or np.linalg.norm(arms[:, None] - eyes, axis=-1).min() < 0.2:
            continue  # an arm may cover the eyes
        canvas = FigureCanvas(
            np.zeros((900, 900, 3), np.uint8), np.zeros((900, 900), np.uint8), 500.0
        )
        place = Placement(np.array([450.3, 450.6]), 500.0)
        points = place.on_canvas(figure.points)
        render_figure(canvas, points, figure, place, clothes)
        dark = {
            tuple(canvas.image[y, x].tolist()) for x, y in place.on_canvas(eyes).round().astype(int)
        }
        assert dark == {(35, 30, 60)}  # the iris
        checked += 1
    assert checked > 20


def offset(image, teeth):
    """How far the light patch is from the teeth's keypoints; None if it is no patch."""
    outline = cv2.moments(teeth.astype(np.float32))
    expected = np.array([outline["m10"], outline["m01"]]) / outline["m00"]
    light = np.clip((image[..., 1].astype(float) - 70) / 150, 0, 1)  # the lips' green is 45
    _, patches = cv2.connectedComponents((light > 0.25).astype(np.uint8), connectivity=4)
    column, row = np.rint(expected).astype(int)
    light *= patches == patches[row, column]
    if not 0.7 < light.sum() / outline["m00"] < 1.3:
        return None  # hidden, or grown into the skin through thin lips
    y, x = np.indices(light.shape)
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum() - expected


def test_a_label_is_not_even_a_quarter_of_a_pixel_off_its_picture(drawn):
    names = {image["id"]: image["file_name"] for image in content(drawn)["images"]}
    offsets = []
    for row, keypoints, _ in annotated(drawn):
        face = keypoints[WHOLEBODY.disjoint_parts["face"]]
        teeth = face[60:68, :2]
        if (face[:, 2] == 2).all() and np.ptp(teeth[:, 0]) > 7:
            image = cv2.imread(str(drawn / "train2017" / names[row["image_id"]]))
            offsets.append(offset(image, teeth))
    offsets = [found for found in offsets if found is not None]
    assert len(offsets) > 20
    assert np.abs(np.median(offsets, 0)).max() < 0.12  # 0.25 where FINE's half pixel is forgotten


def scored(ground_truth, change):
    """AP of each part of people that stand where the ground truth has them, then changed."""
    found = {}
    for n, image_id in enumerate(ground_truth.image_ids.tolist()):
        here = (
            (ground_truth.image == n)
            & ~ground_truth.crowd
            & (ground_truth.keypoints[..., 2] > 0).any(1)
        )
        keypoints = change(ground_truth.keypoints[here].copy(), ground_truth.boxes[here])
        keypoints[..., 2] = keypoints[..., 2] > 0
        found[image_id] = Poses(keypoints.astype(np.float32), np.ones(len(keypoints), np.float32))
    return {
        part: scores.ap for part, scores in evaluate_parts(ground_truth, found, WHOLEBODY).items()
    }


def test_the_set_tells_the_ground_truth_from_swapped_sides_and_from_a_mean_pose(drawn):
    ground_truth = read_ground_truth(drawn / FILES["wholebody"].format("train"), WHOLEBODY)
    real = ~ground_truth.crowd & (ground_truth.keypoints[..., 2] > 0).any(1)
    unit = (
        ground_truth.keypoints[real, :, :2] - ground_truth.boxes[real, None, :2]
    ) / ground_truth.boxes[real, None, 2:]
    there = ground_truth.keypoints[real, :, 2:] > 0
    mean = (unit * there).sum(0) / there.sum(0)  # [K, 2] in boxes

    def swap(keypoints, boxes):
        return keypoints[:, WHOLEBODY.flip_indices]

    def guess(keypoints, boxes):
        keypoints[..., :2] = boxes[:, None, :2] + mean * boxes[:, None, 2:]
        return keypoints

    perfect = scored(ground_truth, lambda keypoints, boxes: keypoints)
    assert perfect == pytest.approx(dict.fromkeys(perfect, 1.0))
    assert max(scored(ground_truth, swap).values()) < 0.02
    guessed = scored(ground_truth, guess)
    # feet stand at the bottom of most boxes: 0.11 to 0.18 is what a foot AP here starts from
    assert guessed.pop("foot") < 0.25
    assert max(guessed.values()) < 0.02
