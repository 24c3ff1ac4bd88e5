"""Left/right pairs are derived from names in all common spellings, and never guessed."""

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
def test_a_pair_is_derived_in_any_order_among_keypoints_without_a_side(pair):
    names = [*MIDDLE, *pair]
    random.Random(0).shuffle(names)
    assert derive_flip_pairs(names) == (pair,)


def test_pairs_derived_from_the_names_of_coco_equal_its_flip_indices():
    index = {name: k for k, name in enumerate(BODY.keypoints)}
    flipped = list(range(BODY.size))
    for left, right in derive_flip_pairs(BODY.keypoints):
        flipped[index[left]], flipped[index[right]] = index[right], index[left]
    assert tuple(flipped) == BODY.flip_indices


@pytest.mark.parametrize("name", ["left_eye", "Right Eye", "eye_l", "REye", "L5", "rightpaw"])
def test_a_side_without_a_partner_is_an_error(name):
    with pytest.raises(ValueError, match=f"no left/right partner of '{name}' among the keypoints"):
        derive_flip_pairs(["nose", "left_ear", "right_ear", name])


def test_names_that_differ_only_in_spelling_are_an_error():
    with pytest.raises(ValueError, match="'LeftEye' and 'left_eye' differ only in spelling"):
        derive_flip_pairs(["LeftEye", "left_eye", "right_eye"])


def test_names_without_letters_have_no_side():
    assert derive_flip_pairs(["", "_", "12", "?"]) == ()
