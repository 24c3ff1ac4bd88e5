"""Poses of several scales become one, each as its size allows."""

import numpy as np
import pytest

from tagpose.data.synthetic.pose import random_pose
from tagpose.inference.scale_fusion import fuse_scales_by_size
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import Poses

USUAL = 100.0  # image pixels


def somebody(tall, score=0.5, off=0.0):
    """A person about so tall, seen too far to the right by an offset, at any keypoint."""
    points = tall * random_pose(np.random.default_rng(0)).points + [300 + off, 200]
    scores = np.full((WHOLEBODY.size, 1), score)
    rows = np.concatenate([points, scores], 1)[None].astype(np.float32)
    return Poses(rows, np.array([score], np.float32))


def both(*people):
    return Poses(*map(np.concatenate, zip(*people, strict=True)))


@pytest.mark.parametrize(("tall", "scale", "has_a_say"), [
    (60, 2.0, True), (300, 2.0, False), (60, 0.5, False), (900, 0.5, True),
])  # fmt: skip
def test_a_scale_has_a_say_in_those_whose_size_it_suits(tall, scale, has_a_say):
    own, other = somebody(tall, 0.25), somebody(tall, 0.75, off=0.01 * tall)
    merged = fuse_scales_by_size([own, other], [1, scale], WHOLEBODY, USUAL)
    # places by the scores: three quarters of the way
    moved = merged.keypoints[..., 0] - own.keypoints[..., 0]
    np.testing.assert_allclose(moved, 0.0075 * tall if has_a_say else 0, atol=1e-3)
    assert merged.scores == pytest.approx(0.5 if has_a_say else 0.25)
    assert merged.keypoints[..., 2] == pytest.approx(0.5 if has_a_say else 0.25)


def test_nobody_is_added_or_moved_by_somebody_elsewhere():
    own = both(somebody(60, 0.2), somebody(60, 0.6, off=200))
    merged = fuse_scales_by_size([somebody(60, 0.9, off=100), own], [2, 1], WHOLEBODY, USUAL)
    np.testing.assert_array_equal(merged.keypoints, own.keypoints[::-1])
    np.testing.assert_array_equal(merged.scores, own.scores[::-1])


def test_where_nobody_is_seen_at_scale_one_nobody_is():
    nobody = Poses(np.zeros((0, WHOLEBODY.size, 3), np.float32), np.zeros(0, np.float32))
    for views in ([nobody, somebody(60)], [nobody, nobody]):
        assert not len(fuse_scales_by_size(views, [1, 2], WHOLEBODY, USUAL).scores)
    assert fuse_scales_by_size([somebody(60), nobody], [1, 2], WHOLEBODY, USUAL).scores == 0.5


def test_keypoints_that_nobody_saw_stay_missing():
    own, other = somebody(60), somebody(60)
    for one in (own, other):
        one.keypoints[:, 50] = 0
    merged = fuse_scales_by_size([own, other], [1, 2], WHOLEBODY, USUAL)
    np.testing.assert_array_equal(merged.keypoints[:, 50], 0)
