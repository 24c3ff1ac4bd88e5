"""Layouts of other projects: documented order, sides, and rows of 0 for missing keypoints."""

import numpy as np
import pytest

from tagpose.data.synthetic.pose import random_pose
from tagpose.skeletons.coco import BODY, WHOLEBODY
from tagpose.skeletons.keypoint_layouts import (
    COCO_17,
    HALPE_26,
    HALPE_136,
    LAYOUTS,
    MEDIAPIPE_POSE,
    OPENPOSE_BODY_25,
    OPENPOSE_COCO_18,
    OPENPOSE_FACE,
    convert_keypoints,
)

SIZES = {
    "openpose_body_25": 25,
    "openpose_coco_18": 18,
    "openpose_face": 70,
    "openpose_left_hand": 21,
    "openpose_right_hand": 21,
    "coco_17": 17,
    "halpe_26": 26,
    "halpe_136": 136,
    "mediapipe_pose": 33,
    "mediapipe_left_hand": 21,
    "mediapipe_right_hand": 21,
}

# The order in OpenPose's doc/02_output.md.
BODY_25 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee "
    "LAnkle REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
COCO_18 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar"
)
SIDES = {"L": "left", "R": "right"}


def make_people(skeleton=WHOLEBODY, count=2):
    """Return keypoints [P, K, 3] that all differ."""
    keypoints = np.random.default_rng(0).uniform(0.3, 1, (count, skeleton.size, 3))
    keypoints[..., :2] *= 500
    return keypoints.astype(np.float32)


def test_layouts_have_the_documented_sizes():
    assert {name: layout.size for name, layout in LAYOUTS.items()} == SIZES


@pytest.mark.parametrize(
    ("layout", "order"), [(OPENPOSE_BODY_25, BODY_25), (OPENPOSE_COCO_18, COCO_18)]
)
def test_openpose_layouts_have_the_documented_order(layout, order):
    assert layout.keypoints == tuple(order.split())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_layouts_have_unique_names_and_known_sources(layout):
    assert len(set(layout.keypoints)) == layout.size
    assert {name for names in layout.sources for name in names} <= set(WHOLEBODY.keypoints)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_sources_are_on_the_same_side_as_the_keypoint(layout):
    for name, sources in zip(layout.keypoints, layout.sources, strict=True):
        side = SIDES.get(name[0], "") if name[:1].isupper() else ""
        side = side or next((s for s in SIDES.values() if name.startswith(s)), "")
        source_sides = {s for s in SIDES.values() for source in sources if source.startswith(s)}
        if side and len(sources) == 1 and not sources[0].startswith("face-"):
            assert source_sides == {side}, name


@pytest.mark.parametrize("side", ["left", "right"])
def test_eye_corners_are_ordered_from_the_nose_outward(side):
    """For a synthetic person seen from the front, whose left is on the right of the image."""
    figure = random_pose(np.random.default_rng(1))
    assert not figure.from_behind
    points = np.c_[figure.points, np.ones(WHOLEBODY.size)][None]
    converted = convert_keypoints(points, WHOLEBODY, MEDIAPIPE_POSE)[0]
    order = ["nose", *(f"{side}_{name}" for name in ("eye_inner", "eye", "eye_outer"))]
    x = [converted[MEDIAPIPE_POSE.keypoints.index(name), 0] for name in order]
    assert x == sorted(x, reverse=side == "right")
    mouth = converted[[MEDIAPIPE_POSE.keypoints.index(f"mouth_{s}") for s in ("right", "left")], 0]
    assert mouth[0] < mouth[1]


def test_a_mean_has_the_lowest_score_of_its_sources():
    keypoints = make_people()
    left, right = (WHOLEBODY.keypoints.index(f"{side}_shoulder") for side in SIDES.values())
    neck = convert_keypoints(keypoints, WHOLEBODY, OPENPOSE_BODY_25)[:, 1]
    both = keypoints[:, [left, right]]
    assert neck[:, :2] == pytest.approx(both[..., :2].mean(1))
    assert neck[:, 2] == pytest.approx(both[..., 2].min(1))


def test_a_mean_is_missing_if_a_source_is_missing():
    keypoints = make_people()
    keypoints[0, WHOLEBODY.keypoints.index("left_hip")] = 0
    converted = convert_keypoints(keypoints, WHOLEBODY, OPENPOSE_BODY_25)
    middle = OPENPOSE_BODY_25.keypoints.index("MidHip")
    assert not converted[0, middle].any()
    assert converted[1, middle, 2] > 0
    assert converted[0, OPENPOSE_BODY_25.keypoints.index("RHip"), 2] > 0


def test_keypoints_without_a_counterpart_are_missing():
    keypoints, head = make_people(), HALPE_26.keypoints.index("head")
    assert not convert_keypoints(keypoints, WHOLEBODY, OPENPOSE_FACE)[:, 68:].any()
    assert not convert_keypoints(keypoints, WHOLEBODY, HALPE_26)[:, head].any()


def test_parts_that_the_skeleton_lacks_are_missing():
    keypoints = make_people(BODY)
    converted = convert_keypoints(keypoints, BODY, HALPE_136)
    assert (converted[:, :17] == keypoints).all()
    assert not converted[:, 20:].any()


def test_conversion_to_coco_keeps_the_body_keypoints():
    keypoints = make_people()
    assert (convert_keypoints(keypoints, WHOLEBODY, COCO_17) == keypoints[:, :17]).all()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_no_people_are_converted_to_no_people(layout):
    assert convert_keypoints(make_people(count=0), WHOLEBODY, layout).shape == (0, layout.size, 3)
