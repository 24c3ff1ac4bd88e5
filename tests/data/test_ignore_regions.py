"""Unlabeled parts may be in their own box, near their parent keypoints, or in the person's box."""

import numpy as np

from tagpose.data.coco_schema import ReadRules
from tagpose.data.ignore_regions import ignore_boxes
from tagpose.data.transforms import transform_boxes
from tagpose.geometry import crop_affine, flip_affine
from tagpose.skeletons.coco import BODY, WHOLEBODY

PARTS = list(WHOLEBODY.disjoint_parts)
BOXES = ["bbox", *ReadRules(WHOLEBODY).box_fields]


def person(**boxes):
    """Return keypoints [1, K, 3] of a nose and a left wrist, and boxes [1, 1 + F, 4]."""
    keypoints = np.zeros((1, WHOLEBODY.size, 3), np.float32)
    keypoints[0, WHOLEBODY.keypoints.index("nose")] = 50, 20, 2
    keypoints[0, WHOLEBODY.keypoints.index("left_wrist")] = 70, 60, 2
    boxes = {"bbox": [40, 10, 50, 100]} | boxes
    return keypoints, np.array([[boxes.get(key, [0] * 4) for key in BOXES]], np.float32)


def ignore_box(part, keypoints, boxes):
    return ignore_boxes(keypoints, boxes, WHOLEBODY)[0, PARTS.index(part)].tolist()


def test_a_labeled_part_has_no_ignore_box():
    assert ignore_box("body", *person()) == [0, 0, 0, 0]


def test_a_part_with_a_box_is_expected_in_it_with_a_margin():
    assert ignore_box("lefthand", *person(lefthand_box=[60, 50, 20, 10])) == [58, 48, 82, 62]


def test_a_hand_is_expected_near_its_wrist_and_a_face_near_the_nose():
    assert ignore_box("lefthand", *person()) == [50, 40, 90, 80]  # a fifth of the person's 100
    assert ignore_box("face", *person()) == [30, 0, 70, 40]


def test_a_part_without_labeled_parents_is_expected_in_the_box_of_the_person():
    assert ignore_box("foot", *person()) == ignore_box("righthand", *person()) == [40, 10, 90, 110]


def test_a_person_without_a_box_has_the_box_of_its_labeled_keypoints():
    assert ignore_box("righthand", *person(bbox=[0, 0, 0, 0])) == [50, 20, 70, 60]


def test_a_flip_swaps_the_boxes_of_the_hands():
    boxes = ignore_boxes(*person(), WHOLEBODY)
    plain = crop_affine((50, 50), 100, 0, (100, 100))
    unchanged, flipped = (
        transform_boxes(boxes, affine, WHOLEBODY) for affine in (plain, flip_affine(plain, 100))
    )
    left, right = PARTS.index("lefthand"), PARTS.index("righthand")
    np.testing.assert_allclose(unchanged, boxes)
    np.testing.assert_allclose(flipped[0, right], [9, 40, 49, 80])
    np.testing.assert_allclose(flipped[0, left], [9, 10, 59, 110])


def test_a_rotated_box_is_enlarged_to_an_axis_aligned_one():
    boxes = ignore_boxes(*person(), WHOLEBODY)
    rotated = transform_boxes(boxes, crop_affine((50, 50), 100, 45, (100, 100)), WHOLEBODY)
    before, after = (b[0, PARTS.index("face")] for b in (boxes, rotated))
    np.testing.assert_allclose(after[2:] - after[:2], np.sqrt(2) * (before[2:] - before[:2]))
    assert not rotated[0, PARTS.index("body")].any()


def test_a_flip_swaps_the_left_and_right_hand_only():
    assert [PARTS[f] for f in WHOLEBODY.part_flip_indices] == [
        "body", "foot", "face", "righthand", "lefthand",
    ]  # fmt: skip
    assert BODY.part_index == (0,) * BODY.size
    assert [WHOLEBODY.part_index.count(f) for f in range(5)] == [17, 6, 68, 21, 21]
