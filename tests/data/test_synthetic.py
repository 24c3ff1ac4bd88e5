"""Synthetic people: annotation files, images, and sensitivity of their scores."""

import json

import cv2
import numpy as np
import pytest

from tagpose.data.annotations import read_annotations
from tagpose.data.synthetic import write_synthetic_dataset
from tagpose.data.synthetic.pose import KEYPOINT_INDEX, random_pose
from tagpose.data.synthetic.renderer import FigureCanvas, Placement, random_clothes, render_figure
from tagpose.data.synthetic.scene import PeopleCount
from tagpose.evaluation.ground_truth import read_ground_truth
from tagpose.evaluation.keypoint_ap import evaluate_parts
from tagpose.skeletons.coco import BODY, SKELETONS, WHOLEBODY
from tagpose.structures import Poses

FILES = {
    "body": "annotations/person_keypoints_{}2017.json",
    "wholebody": "annotations/coco_wholebody_{}_v1.0.json",
}
# fields of every annotation in the official files
COMMON_FIELDS = {
    "id",
    "image_id",
    "category_id",
    "bbox",
    "area",
    "segmentation",
    "iscrowd",
    "num_keypoints",
}
PARTS_WITH_BOX = ("face", "lefthand", "righthand")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Return the root of a dataset with enough people for statistics."""
    root = tmp_path_factory.mktemp("dataset") / "synthetic"
    write_synthetic_dataset(root, train=120, val=8, processes=1)
    return root


def load_annotations(root, skeleton="wholebody", split="train"):
    return json.loads((root / FILES[skeleton].format(split)).read_text())


def read_files(root):
    files = (file for file in root.rglob("*") if file.is_file())
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


def iterate_people(root):
    """Yield the row, keypoints [K, 3] and image size of each person in train."""
    content = load_annotations(root)
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for row in content["annotations"]:
        flat = [value for field in WHOLEBODY.json_keys for value in row[field]]
        if not row["iscrowd"]:
            yield row, np.reshape(flat, (-1, 3)), sizes[row["image_id"]]


def test_a_data_set_depends_on_its_seed_and_not_on_the_number_of_processes(tmp_path):
    for processes in (1, 2):
        root = tmp_path / str(processes)
        write_synthetic_dataset(root, train=20, val=3, image_size=96, seed=3, processes=processes)
    write_synthetic_dataset(tmp_path / "other", train=20, val=3, image_size=96, seed=4, processes=1)
    one, two, other = (read_files(tmp_path / name) for name in ("1", "2", "other"))
    assert one == two
    assert one.keys() == other.keys()
    assert one != other


def test_the_number_of_people_in_a_crowd_is_within_its_range():
    random = np.random.default_rng(0)
    assert {PeopleCount(max=10, min=6).draw(random) for _ in range(200)} == set(range(6, 11))


def test_a_crowd_of_more_people_than_the_maximum_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="min_people=5 is above max_people=4"):
        write_synthetic_dataset(tmp_path / "people", train=1, val=1, min_people=5)
    assert not (tmp_path / "people").exists()


def test_images_and_their_ids_are_unique(dataset):
    images = [file.read_bytes() for file in dataset.rglob("*.jpg")]
    assert len(set(images)) == len(images) == 128
    ids = [
        image["id"]
        for split in ("train", "val")
        for image in load_annotations(dataset, "body", split)["images"]
    ]
    assert len(set(ids)) == len(ids)


def test_an_existing_folder_is_not_overwritten_and_an_incomplete_one_is_removed(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(FileExistsError, match="already"):
        write_synthetic_dataset(tmp_path / "set", train=1, val=1, processes=1)
    with pytest.raises(ValueError, match="negative"):
        write_synthetic_dataset(tmp_path / "half", train=1, val=1, image_size=-1, processes=1)
    assert [folder.name for folder in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("split", ["train", "val"])
def test_annotation_files_have_the_official_format(dataset, name, split):
    skeleton = SKELETONS[name]
    records = read_annotations(
        dataset / FILES[name].format(split), dataset / f"{split}2017", skeleton
    )
    assert len(records.files) == len(list((dataset / f"{split}2017").iterdir()))
    rows = load_annotations(dataset, name, split)["annotations"]
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row.keys() >= COMMON_FIELDS | skeleton.json_keys.keys() for row in rows)
    (category,) = load_annotations(dataset, name, split)["categories"]
    assert tuple(category["keypoints"]) == BODY.keypoints
    assert np.min(category["skeleton"]) == 1
    assert np.max(category["skeleton"]) == BODY.size


def test_images_have_the_stated_size(dataset):
    for image in load_annotations(dataset)["images"]:
        shape = cv2.imread(str(dataset / "train2017" / image["file_name"])).shape
        assert shape == (image["height"], image["width"], 3)


def test_counts_flags_boxes_and_masks_agree_with_the_keypoints(dataset):
    for row, keypoints, (width, height) in iterate_people(dataset):
        labeled = keypoints[:, 2] > 0
        assert row["num_keypoints"] == labeled[: BODY.size].sum()
        assert not keypoints[~labeled].any()
        # a pixel extends half a pixel to either side of its center
        assert (np.abs(keypoints[labeled, :2] / [width - 1, height - 1] - 0.5) < 0.505).all()
        for part in ("foot", *PARTS_WITH_BOX):
            assert row[f"{part}_valid"] == labeled[WHOLEBODY.disjoint_parts[part]].any()
        for part in PARTS_WITH_BOX:
            x, y, w, h = row[f"{part}_box"]
            points = keypoints[WHOLEBODY.disjoint_parts[part]][
                labeled[WHOLEBODY.disjoint_parts[part]], :2
            ]
            assert (points >= [x - 0.02, y - 0.02]).all()
            assert (points <= [x + w + 0.02, y + h + 0.02]).all()
        assert all(len(line) >= 6 and len(line) % 2 == 0 for line in row["segmentation"])
        assert 0 < row["area"] <= row["bbox"][2] * row["bbox"][3]


def test_the_data_set_has_the_variety_of_real_ones(dataset):
    rows = list(iterate_people(dataset))
    areas = np.array([row["area"] for row, _, _ in rows])
    assert (areas > 96**2).any()
    assert ((areas > 32**2) & (areas < 96**2)).any()
    assert {0, 1, 2} == {v for _, keypoints, _ in rows for v in keypoints[:, 2]}
    assert any(row["num_keypoints"] == 0 for row, _, _ in rows)
    assert any(row["iscrowd"] for row in load_annotations(dataset)["annotations"])
    for part in ("foot", *PARTS_WITH_BOX):
        assert 0 < np.mean([row[f"{part}_valid"] for row, _, _ in rows]) < 1


def test_left_and_right_are_distinguishable(dataset):
    ears = [KEYPOINT_INDEX["left_ear"], KEYPOINT_INDEX["right_ear"]]
    eyes = [KEYPOINT_INDEX["left_eye"], KEYPOINT_INDEX["right_eye"]]
    counts = {True: 0, False: 0}
    for _, keypoints, _ in iterate_people(dataset):
        if not (keypoints[ears, 2] > 0).all():
            continue
        has_face = bool(keypoints[KEYPOINT_INDEX["nose"], 2] > 0)
        if has_face:
            assert keypoints[eyes[0], 0] > keypoints[eyes[1], 0]
        left_ear, right_ear = keypoints[ears, 0]
        assert (left_ear > right_ear) == has_face
        assert has_face or not keypoints[WHOLEBODY.disjoint_parts["face"]].any()
        counts[has_face] += 1
    assert min(counts.values()) > 0


def test_left_hands_are_mirror_images_of_right_hands():
    orientations = []
    for seed in range(40):
        figure = random_pose(np.random.default_rng(seed))
        for side in ("left", "right"):
            root, thumb, little = (
                figure.points[KEYPOINT_INDEX[f"{side}_{at}"]]
                for at in ("hand_root", "thumb4", "pinky_finger1")
            )
            (a, b), (c, d) = thumb - root, little - root
            view_sign = -1 if figure.from_behind else 1
            orientations.append(np.sign(a * d - b * c) * view_sign * (1 if side == "left" else -1))
    assert len(set(orientations)) == 1


def test_eyes_are_rendered_at_their_keypoints():
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
        colors = {
            tuple(canvas.image[y, x].tolist()) for x, y in place.on_canvas(eyes).round().astype(int)
        }
        assert colors == {(35, 30, 60)}  # the iris
        checked += 1
    assert checked > 20


def measure_teeth_offset(image, teeth):
    """Return the offset [2] of the bright teeth from their keypoints; None if they are hidden."""
    outline = cv2.moments(teeth.astype(np.float32))
    expected = np.array([outline["m10"], outline["m01"]]) / outline["m00"]
    brightness = np.clip((image[..., 1].astype(float) - 70) / 150, 0, 1)  # lips have green 45
    _, components = cv2.connectedComponents((brightness > 0.25).astype(np.uint8), connectivity=4)
    column, row = np.rint(expected).astype(int)
    brightness *= components == components[row, column]
    if not 0.7 < brightness.sum() / outline["m00"] < 1.3:
        return None  # occluded, or connected to the skin through thin lips
    y, x = np.indices(brightness.shape)
    return np.array([(brightness * x).sum(), (brightness * y).sum()]) / brightness.sum() - expected


def test_labels_are_accurate_to_a_fraction_of_a_pixel(dataset):
    names = {image["id"]: image["file_name"] for image in load_annotations(dataset)["images"]}
    offsets = []
    for row, keypoints, _ in iterate_people(dataset):
        face = keypoints[WHOLEBODY.disjoint_parts["face"]]
        teeth = face[60:68, :2]
        if (face[:, 2] == 2).all() and np.ptp(teeth[:, 0]) > 7:
            image = cv2.imread(str(dataset / "train2017" / names[row["image_id"]]))
            offsets.append(measure_teeth_offset(image, teeth))
    offsets = [offset for offset in offsets if offset is not None]
    assert len(offsets) > 20
    # it would be 0.25 without the half-pixel shift of supersampling
    assert np.abs(np.median(offsets, 0)).max() < 0.12


def score_modified(ground_truth, modify):
    """Return the AP of each part for modified ground-truth keypoints."""
    predictions = {}
    for n, image_id in enumerate(ground_truth.image_ids.tolist()):
        in_image = (
            (ground_truth.image == n)
            & ~ground_truth.crowd
            & (ground_truth.keypoints[..., 2] > 0).any(1)
        )
        keypoints = modify(ground_truth.keypoints[in_image].copy(), ground_truth.boxes[in_image])
        keypoints[..., 2] = keypoints[..., 2] > 0
        predictions[image_id] = Poses(
            keypoints.astype(np.float32), np.ones(len(keypoints), np.float32)
        )
    return {
        part: scores.ap
        for part, scores in evaluate_parts(ground_truth, predictions, WHOLEBODY).items()
    }


def test_swapped_sides_and_a_mean_pose_score_near_zero(dataset):
    ground_truth = read_ground_truth(dataset / FILES["wholebody"].format("train"), WHOLEBODY)
    is_person = ~ground_truth.crowd & (ground_truth.keypoints[..., 2] > 0).any(1)
    unit = (
        ground_truth.keypoints[is_person, :, :2] - ground_truth.boxes[is_person, None, :2]
    ) / ground_truth.boxes[is_person, None, 2:]
    labeled = ground_truth.keypoints[is_person, :, 2:] > 0
    mean = (unit * labeled).sum(0) / labeled.sum(0)  # [K, 2] in units of the box

    def swap_sides(keypoints, boxes):
        return keypoints[:, WHOLEBODY.flip_indices]

    def place_mean_pose(keypoints, boxes):
        keypoints[..., :2] = boxes[:, None, :2] + mean * boxes[:, None, 2:]
        return keypoints

    oracle = score_modified(ground_truth, lambda keypoints, boxes: keypoints)
    assert oracle == pytest.approx(dict.fromkeys(oracle, 1.0))
    assert max(score_modified(ground_truth, swap_sides).values()) < 0.02
    mean_pose = score_modified(ground_truth, place_mean_pose)
    # feet are at the bottom of most boxes, so that even a mean pose has a foot AP of 0.11 to 0.18
    assert mean_pose.pop("foot") < 0.25
    assert max(mean_pose.values()) < 0.02
