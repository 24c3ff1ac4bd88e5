"""OpenPose folders are read as results, and anything else is rejected with advice."""

import json
import warnings

import numpy as np
import pytest

from helpers.run_scripts import run, succeeded
from tagpose.evaluation.coco_results import from_coco_results
from tagpose.evaluation.ground_truth import GroundTruth, read_ground_truth
from tagpose.evaluation.image_ids import describe_missing
from tagpose.evaluation.openpose_results import read_matched_results, read_openpose_folder
from tagpose.inference.formats.openpose import to_openpose
from tagpose.inference.results import PoseResult
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.custom import make_custom_skeleton
from tagpose.skeletons.keypoint_layouts import OPENPOSE_BODY_25, OPENPOSE_COCO_18

# the id of an image may be the file name of another
GROUND_TRUTH = GroundTruth(
    np.array([1, 2, 3]), np.zeros(0, int), np.zeros((0, 17, 3)), np.zeros(0), np.zeros((0, 4)),
    np.zeros(0, bool), ("2.jpg", "sub/b.c.jpg", "3.jpg"),
)  # fmt: skip


def make_poses(skeleton, people=2, seed=0):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(2, 90, (people, skeleton.size, 2)).round(2)
    return np.concatenate([xy, rng.uniform(0.1, 1, (people, skeleton.size, 1)).round(4)], -1)


def write(folder, name, keypoints, skeleton, body=OPENPOSE_BODY_25):
    folder.mkdir(exist_ok=True)
    boxes = np.zeros((len(keypoints), 4))
    result = PoseResult(keypoints, boxes[:, 0], {}, boxes, (99, 99), skeleton)
    (folder / name).write_text(json.dumps(to_openpose(result, body)))


@pytest.mark.parametrize("body", [OPENPOSE_BODY_25, OPENPOSE_COCO_18], ids=lambda body: body.name)
def test_reading_inverts_writing(tmp_path, body):
    keypoints = make_poses(BODY)
    write(tmp_path / "out", "b.c_keypoints.json", keypoints, BODY, body)
    write(tmp_path / "out", "2.json", keypoints[:1], BODY, body)  # the file name, not the id 2
    write(tmp_path / "out", "3_keypoints.json", keypoints[:0], BODY, body)
    results = read_openpose_folder(tmp_path / "out", GROUND_TRUTH, BODY)
    poses = from_coco_results(results, BODY)
    assert poses.keys() == {1, 2}
    np.testing.assert_allclose(poses[2].keypoints, keypoints, atol=1e-6)
    np.testing.assert_allclose(poses[2].scores, keypoints[..., 2].mean(1), atol=1e-6)
    assert "1 of 3 images" in describe_missing(GROUND_TRUTH, [*poses])


def test_all_parts_of_a_whole_body_are_read(tmp_path):
    keypoints = make_poses(WHOLEBODY)
    write(tmp_path / "out", "3.json", keypoints, WHOLEBODY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = read_matched_results(tmp_path / "out", GROUND_TRUTH, WHOLEBODY)
    np.testing.assert_allclose(from_coco_results(results, WHOLEBODY)[3].keypoints, keypoints)


def test_missing_parts_are_counted(tmp_path):
    keypoints = make_poses(WHOLEBODY)
    keypoints[:, WHOLEBODY.parts["lefthand"]] = 0
    keypoints[0, WHOLEBODY.parts["face"]] = 0  # one of two people has a face
    write(tmp_path / "out", "3.json", keypoints, WHOLEBODY)
    with pytest.warns(UserWarning, match=r"21 of 133 .* all 2 people \(21 of lefthand\)"):
        results = read_openpose_folder(tmp_path / "out", GROUND_TRUTH, WHOLEBODY)
    assert not from_coco_results(results, WHOLEBODY)[3].keypoints[0, -42:-21].any()


PERSON = {"pose_keypoints_2d": [9.0, 9.0, 0.5] * 25}
REJECTED = {
    "another image": ({"7.json": {"people": []}}, "not of an image of the ground truth; remove it"),
    "no JSON": ({"2.txt": {}}, "has no JSON files"),
    "another file": ({"2.json": {"images": []}}, "has no list of people"),
    "OpenPifPaf": ({"2.jpg.predictions.json": [{"score": 1}]}, "openpifpaf.eval --write-pred"),
    "MPI": ({"2.json": {"people": [{"pose_keypoints_2d": [1, 1, 1] * 15}]}}, "BODY_25 or COCO"),
    "text": ({"2.json": {"people": [{"pose_keypoints_2d": "x"}]}}, "not a list of x, y, score"),
    "pairs": ({"2.json": {"people": [{"pose_keypoints_2d": [1, 2]}]}}, "not a list of x, y"),
    "normalized": ({"2.json": {"people": [{"pose_keypoints_2d": [0.5] * 75}]}}, "keypoint_scale"),
}


@pytest.mark.parametrize(("files", "message"), REJECTED.values(), ids=REJECTED)
def test_other_folders_are_rejected(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_openpose_folder(tmp_path, GROUND_TRUTH, BODY)


def test_a_file_of_openpifpaf_is_rejected_with_the_command_that_writes_results(tmp_path):
    (tmp_path / "2.json").write_text(json.dumps([{"keypoints": [1, 1, 1] * 17, "score": 1}]))
    with pytest.raises(ValueError, match=r"no image_id in any record.*openpifpaf\.eval"):
        read_matched_results(tmp_path / "2.json", GROUND_TRUTH, BODY)


def test_the_folder_of_an_evaluation_is_read_as_its_result_file(tmp_path):
    (tmp_path / "results.json").write_text(
        json.dumps([{"image_id": 2, "keypoints": [1, 1, 1] * 17, "score": 1}])
    )
    (tmp_path / "metrics.json").write_text("{}")
    expected = read_matched_results(tmp_path / "results.json", GROUND_TRUTH, BODY)
    assert read_matched_results(tmp_path, GROUND_TRUTH, BODY) == expected


def test_a_skeleton_that_openpose_lacks_is_rejected(tmp_path):
    animal = make_custom_skeleton("animal", ["nose", "tail"], [0.05] * 2)
    with pytest.raises(ValueError, match="OpenPose has no tail, which the skeleton 'animal'"):
        read_openpose_folder(tmp_path, GROUND_TRUTH, animal)


def test_score_and_report_accept_a_folder(people, tmp_path):
    file = people / "annotations/person_keypoints_val2017.json"
    ground_truth = read_ground_truth(file, BODY)
    for n, name in enumerate(ground_truth.files[1:], 1):
        keypoints = ground_truth.keypoints[(ground_truth.image == n) & ~ground_truth.crowd].copy()
        keypoints[..., 2] = keypoints[..., 2] > 0
        write(tmp_path / "out", f"{name[:-4]}_keypoints.json", keypoints, BODY)
    arguments = ("results=out", f"ground_truth={file}", "skeleton=body")
    output = succeeded(run("score", *arguments, cwd=tmp_path)).stdout
    assert "1 of 6 images of the ground truth have no predictions" in output
    succeeded(run("report", *arguments, f"images={people}/val2017", "output=r", cwd=tmp_path))
    assert "out" in (tmp_path / "r/report.html").read_text()
