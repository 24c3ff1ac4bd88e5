"""Scale fusion uses each scale only for people whose size suits it."""

import numpy as np
import pytest

from tagpose.data.synthetic.pose import random_pose
from tagpose.inference.scale_fusion import fuse_scales_by_size
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import Poses

TYPICAL_SIZE = 100.0  # image pixels


def make_person(height, score=0.5, offset=0.0):
    """Return one person with all keypoints moved to the right by an offset."""
    points = height * random_pose(np.random.default_rng(0)).points + [300 + offset, 200]
    scores = np.full((WHOLEBODY.size, 1), score)
    rows = np.concatenate([points, scores], 1)[None].astype(np.float32)
    return Poses(rows, np.array([score], np.float32))


def concatenate(*people):
    return Poses(*map(np.concatenate, zip(*people, strict=True)))


@pytest.mark.parametrize(("height", "scale", "suits"), [
    (60, 2.0, True), (300, 2.0, False), (60, 0.5, False), (900, 0.5, True),
])  # fmt: skip
def test_a_scale_only_changes_people_whose_size_it_suits(height, scale, suits):
    own, other = make_person(height, 0.25), make_person(height, 0.75, offset=0.01 * height)
    merged = fuse_scales_by_size([own, other], [1, scale], WHOLEBODY, TYPICAL_SIZE)
    # positions are weighted by scores: three quarters of the way
    moved = merged.keypoints[..., 0] - own.keypoints[..., 0]
    np.testing.assert_allclose(moved, 0.0075 * height if suits else 0, atol=1e-3)
    assert merged.scores == pytest.approx(0.5 if suits else 0.25)
    assert merged.keypoints[..., 2] == pytest.approx(0.5 if suits else 0.25)


def test_people_without_a_match_are_neither_added_nor_moved():
    own = concatenate(make_person(60, 0.2), make_person(60, 0.6, offset=200))
    merged = fuse_scales_by_size(
        [make_person(60, 0.9, offset=100), own], [2, 1], WHOLEBODY, TYPICAL_SIZE
    )
    np.testing.assert_array_equal(merged.keypoints, own.keypoints[::-1])
    np.testing.assert_array_equal(merged.scores, own.scores[::-1])


def test_without_people_at_scale_one_there_are_none():
    empty = Poses(np.zeros((0, WHOLEBODY.size, 3), np.float32), np.zeros(0, np.float32))
    for views in ([empty, make_person(60)], [empty, empty]):
        assert not len(fuse_scales_by_size(views, [1, 2], WHOLEBODY, TYPICAL_SIZE).scores)
    assert (
        fuse_scales_by_size([make_person(60), empty], [1, 2], WHOLEBODY, TYPICAL_SIZE).scores == 0.5
    )


def test_keypoints_missing_at_all_scales_stay_missing():
    own, other = make_person(60), make_person(60)
    for people in (own, other):
        people.keypoints[:, 50] = 0
    merged = fuse_scales_by_size([own, other], [1, 2], WHOLEBODY, TYPICAL_SIZE)
    np.testing.assert_array_equal(merged.keypoints[:, 50], 0)
