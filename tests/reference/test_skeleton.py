"""Keypoint names, flip indices, sigmas and bones equal the official ones."""

import json

import pytest

from tagpose.skeletons.coco import SKELETONS


@pytest.mark.parametrize("name", SKELETONS)
def test_skeleton_equals_the_official_one(figure, name):
    expected = json.loads(figure("keypoints.json").read_text())[name]
    skeleton = SKELETONS[name]
    assert list(skeleton.keypoints) == expected["names"]
    assert list(skeleton.flip_indices) == expected["flip_index"]
    assert list(skeleton.sigmas) == expected["sigmas"]
    assert [list(bone) for bone in skeleton.bones] == expected["skeleton"]
