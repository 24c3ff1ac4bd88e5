"""A part without labels may be in its box, or near what it hangs on, or somewhere in its person."""

import numpy as np

from tagpose.data.coco_schema import ReadRules
from tagpose.data.ignore_regions import ignore_boxes, transform_boxes
from tagpose.geometry import crop_affine, flip_affine
from tagpose.skeletons.coco import BODY, WHOLEBODY

PARTS = list(WHOLEBODY.disjoint_parts)
BOXES = ["bbox", *ReadRules(WHOLEBODY).box_fields]


def person(**boxes):
    """Keypoints [1, K, 3] of somebody with a body and a left wrist, and boxes [1, 1 + F, 4]."""
    keypoints = np.zeros((1, WHOLEBODY.size, 3), np.float32)
    keypoints[0, WHOLEBODY.keypoints.index("nose")] = 50, 20, 2
    keypoints[0, WHOLEBODY.keypoints.index("left_wrist")] = 70, 60, 2
    given = {"bbox": [40, 10, 50, 100]} | boxes
    return keypoints, np.array([[given.get(key, [0] * 4) for key in BOXES]], np.float32)


def place(part, keypoints, boxes):
    return ignore_boxes(keypoints, boxes, WHOLEBODY)[0, PARTS.index(part)].tolist()


def test_a_labelled_part_is_nowhere_else():
    assert place("body", *person()) == [0, 0, 0, 0]


def test_a_part_may_be_in_its_own_box_where_one_is_given():
    assert place("lefthand", *person(lefthand_box=[60, 50, 20, 10])) == [58, 48, 82, 62]


def test_a_hand_may_be_around_its_wrist_and_a_face_around_the_nose():
    assert place("lefthand", *person()) == [50, 40, 90, 80]  # a fifth of the person's 100
    assert place("face", *person()) == [30, 0, 70, 40]


def test_a_part_that_hangs_on_nothing_may_be_anywhere_in_its_person():
    assert place("foot", *person()) == place("righthand", *person()) == [40, 10, 90, 110]


def test_a_person_without_a_box_is_around_its_labels():
    assert place("righthand", *person(bbox=[0, 0, 0, 0])) == [50, 20, 70, 60]


def test_a_flipped_view_has_the_left_hand_on_the_right():
    boxes = ignore_boxes(*person(), WHOLEBODY)
    plain = crop_affine((50, 50), 100, 0, (100, 100))
    seen, flipped = (
        transform_boxes(boxes, affine, WHOLEBODY) for affine in (plain, flip_affine(plain, 100))
    )
    left, right = PARTS.index("lefthand"), PARTS.index("righthand")
    np.testing.assert_allclose(seen, boxes)
    np.testing.assert_allclose(flipped[0, right], [9, 40, 49, 80])
    np.testing.assert_allclose(flipped[0, left], [9, 10, 59, 110])


def test_a_turned_box_stays_inside_of_what_is_left_out():
    boxes = ignore_boxes(*person(), WHOLEBODY)
    turned = transform_boxes(boxes, crop_affine((50, 50), 100, 45, (100, 100)), WHOLEBODY)
    before, after = (both[0, PARTS.index("face")] for both in (boxes, turned))
    np.testing.assert_allclose(after[2:] - after[:2], np.sqrt(2) * (before[2:] - before[:2]))
    assert not turned[0, PARTS.index("body")].any()


def test_the_part_of_a_skeleton_are_each_others_flip():
    assert [PARTS[f] for f in WHOLEBODY.part_flip_indices] == [
        "body", "foot", "face", "righthand", "lefthand",
    ]  # fmt: skip
    assert BODY.part_index == (0,) * BODY.size
    assert [WHOLEBODY.part_index.count(f) for f in range(5)] == [17, 6, 68, 21, 21]
