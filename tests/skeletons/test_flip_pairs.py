"""Left/right pairs are derived from names however they are spelled, and never guessed."""

import random

import pytest

from tagpose.skeletons.coco import BODY
from tagpose.skeletons.flip_pairs import derive_flip_pairs

SPELLINGS = [
    ("left_eye", "right_eye"),
    ("Left Eye", "Right Eye"),
    ("eye-left", "eye-right"),
    ("leftEye", "rightEye"),
    ("lefteye", "righteye"),
    ("eyeleft", "eyeright"),
    ("LEFT_EYE", "RIGHT_EYE"),
    ("upper_left_lip", "upper_right_lip"),
    ("l_eye", "r_eye"),
    ("L_F_Paw", "R_F_Paw"),
    ("LEye", "REye"),
    ("eyeL", "eyeR"),
    ("eye.l", "eye.r"),
    ("L1", "R1"),
    ("lwri", "rwri"),
    ("paw_l_front", "paw_r_front"),
    ("left eye's right corner", "right eye's left corner"),
    ("左 left", "左 right"),
]
MIDDLE = [
    "nose",
    "lip",
    "rib",
    "tail",
    "heel",
    "ear",
    "upright",
    "bright spot",
    "1",
    "2",
    "左眼",
    "x+",
    "x-",
]


@pytest.mark.parametrize("pair", SPELLINGS, ids="/".join)
def test_a_pair_is_found_in_any_order_among_keypoints_without_a_side(pair):
    names = [*MIDDLE, *pair]
    random.Random(0).shuffle(names)
    assert derive_flip_pairs(names) == (pair,)


def test_the_pairs_of_coco_are_those_of_its_skeleton():
    place = {name: k for k, name in enumerate(BODY.keypoints)}
    flipped = list(range(BODY.size))
    for left, right in derive_flip_pairs(BODY.keypoints):
        flipped[place[left]], flipped[place[right]] = place[right], place[left]
    assert tuple(flipped) == BODY.flip_indices


@pytest.mark.parametrize("name", ["left_eye", "Right Eye", "eye_l", "REye", "L5", "rightpaw"])
def test_a_side_without_a_partner_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"no keypoint is the left/right partner of '{name}'"):
        derive_flip_pairs(["nose", "left_ear", "right_ear", name])


def test_two_names_that_differ_in_spelling_only_are_refused():
    with pytest.raises(ValueError, match="'LeftEye' and 'left_eye' differ in spelling only"):
        derive_flip_pairs(["LeftEye", "left_eye", "right_eye"])


def test_names_without_any_letter_have_no_side():
    assert derive_flip_pairs(["", "_", "12", "?"]) == ()
