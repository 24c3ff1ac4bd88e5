"""Index maps to other projects: the right points, left and right not swapped, missing ones 0."""

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

# As OpenPose's doc/02_output.md numbers them.
BODY_25 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee "
    "LAnkle REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
COCO_18 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar"
)
SIDES = {"L": "left", "R": "right"}


def people(skeleton=WHOLEBODY, count=2):
    """Keypoints [P, K, 3], all different."""
    keypoints = np.random.default_rng(0).uniform(0.3, 1, (count, skeleton.size, 3))
    keypoints[..., :2] *= 500
    return keypoints.astype(np.float32)


def test_each_layout_has_the_size_that_its_project_documents():
    assert {name: layout.size for name, layout in LAYOUTS.items()} == SIZES


@pytest.mark.parametrize(
    ("layout", "order"), [(OPENPOSE_BODY_25, BODY_25), (OPENPOSE_COCO_18, COCO_18)]
)
def test_the_order_of_openpose_is_the_documented_one(layout, order):
    assert layout.keypoints == tuple(order.split())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_no_layout_names_a_keypoint_twice_or_one_that_the_skeleton_lacks(layout):
    assert len(set(layout.keypoints)) == layout.size
    named = {name for names in layout.sources for name in names}
    assert named <= set(WHOLEBODY.keypoints)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_left_and_right_are_those_of_the_person_on_both_sides(layout):
    for name, sources in zip(layout.keypoints, layout.sources, strict=True):
        side = SIDES.get(name[0], "") if name[:1].isupper() else ""
        side = side or next((s for s in SIDES.values() if name.startswith(s)), "")
        named = {s for s in SIDES.values() for source in sources if source.startswith(s)}
        if side and len(sources) == 1 and not sources[0].startswith("face-"):
            assert named == {side}, name


@pytest.mark.parametrize("side", ["left", "right"])
def test_corners_of_eyes_lie_outward_in_the_order_nose_inner_eye_outer_ear(side):
    """On drawn people who look at us: their left is on the right of the image."""
    figure = random_pose(np.random.default_rng(1))
    assert not figure.from_behind
    points = np.c_[figure.points, np.ones(WHOLEBODY.size)][None]
    mapped = convert_keypoints(points, WHOLEBODY, MEDIAPIPE_POSE)[0]
    order = ["nose", *(f"{side}_{name}" for name in ("eye_inner", "eye", "eye_outer"))]
    x = [mapped[MEDIAPIPE_POSE.keypoints.index(name), 0] for name in order]
    assert x == sorted(x, reverse=side == "right")
    mouth = mapped[[MEDIAPIPE_POSE.keypoints.index(f"mouth_{s}") for s in ("right", "left")], 0]
    assert mouth[0] < mouth[1]


def test_a_mean_is_the_middle_and_as_sure_as_its_less_sure_source():
    keypoints = people()
    left, right = (WHOLEBODY.keypoints.index(f"{side}_shoulder") for side in SIDES.values())
    neck = convert_keypoints(keypoints, WHOLEBODY, OPENPOSE_BODY_25)[:, 1]
    both = keypoints[:, [left, right]]
    assert neck[:, :2] == pytest.approx(both[..., :2].mean(1))
    assert neck[:, 2] == pytest.approx(both[..., 2].min(1))


def test_a_mean_is_missing_if_a_source_is():
    keypoints = people()
    keypoints[0, WHOLEBODY.keypoints.index("left_hip")] = 0
    mapped = convert_keypoints(keypoints, WHOLEBODY, OPENPOSE_BODY_25)
    middle = OPENPOSE_BODY_25.keypoints.index("MidHip")
    assert not mapped[0, middle].any()
    assert mapped[1, middle, 2] > 0
    assert mapped[0, OPENPOSE_BODY_25.keypoints.index("RHip"), 2] > 0


def test_what_another_project_has_alone_is_missing():
    assert not convert_keypoints(people(), WHOLEBODY, OPENPOSE_FACE)[:, 68:].any()
    assert not convert_keypoints(people(), WHOLEBODY, HALPE_26)[
        :, HALPE_26.keypoints.index("head")
    ].any()


def test_a_skeleton_without_some_parts_leaves_them_missing():
    keypoints = people(BODY)
    mapped = convert_keypoints(keypoints, BODY, HALPE_136)
    assert (mapped[:, :17] == keypoints).all()
    assert not mapped[:, 20:].any()


def test_coco_is_the_identity_on_its_own_keypoints():
    keypoints = people()
    assert (convert_keypoints(keypoints, WHOLEBODY, COCO_17) == keypoints[:, :17]).all()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_nobody_stays_nobody(layout):
    assert convert_keypoints(people(count=0), WHOLEBODY, layout).shape == (0, layout.size, 3)
