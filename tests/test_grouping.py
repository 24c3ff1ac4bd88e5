"""Peaks become people by one rule, of which parts can be chosen."""

import numpy as np
import pytest

from tagpose.codec.decode import decoder_of
from tagpose.codec.grouping import Grouping, Groups, assign, group_peaks, person_tags
from tagpose.official_skeletons import BODY, WHOLEBODY, anatomical_order

RULE = Grouping(order=(0, 1, 2), min_score=0.1, max_tag_distance=1.0)


def peaks(*tags, xy=None):
    """Scores, tags and places of one peak of each keypoint, or as many as there are tags."""
    tags = np.array(tags, np.float32).reshape(len(tags), -1, 1)
    scores = np.linspace(0.9, 0.8, tags.shape[1], dtype=np.float32) * np.ones(
        (len(tags), 1), np.float32
    )
    places = np.zeros((*scores.shape, 2), np.int64) if xy is None else np.array(xy)
    return scores, tags, places


def test_a_person_is_the_mean_of_its_keypoints_or_of_its_limbs():
    # two keypoints of a limb at 0, one at 0.9 of another: the mean is 0.3, or 0.45
    given = peaks(0.0, 0.0, 0.9, 1.4)
    by_keypoint = RULE._replace(order=(0, 1, 2, 3))
    by_limb = by_keypoint._replace(limb_of=(0, 0, 1, 1))
    assert [len(group_peaks(*given, by)) for by in (by_keypoint, by_limb)] == [2, 1]


def test_tags_of_a_person_are_those_that_grouping_compares():
    keypoints = np.ones((1, 3, 3), np.float32)
    groups = Groups(keypoints, np.array([[[0.0], [0.0], [0.9]]], np.float32))
    assert person_tags(groups) == pytest.approx(0.3)
    assert person_tags(groups, limb_of=(0, 0, 1)) == pytest.approx(0.45)


def test_of_equal_rounded_distances_the_nearer_assignment_is_taken_where_asked():
    people, tags = np.array([[0.0], [0.4]]), np.array([[0.35], [0.1]])
    scores = np.array([0.9, 0.8])
    assert assign(people, tags, scores, RULE).tolist() == [0, 1]  # as the solver meets them
    assert assign(people, tags, scores, RULE._replace(nearest=True)).tolist() == [1, 0]


@pytest.mark.parametrize(("known", "apart"), [(5, 2), (4, 1)])
def test_a_hand_far_from_its_wrist_is_somebody_elses_where_the_persons_size_is_known(known, apart):
    # the first ones stand in a row, the last of them a wrist; a finger is three lengths away
    places = [[[10, 20 * at / (known - 1)]] for at in range(known)]
    rule = RULE._replace(order=range(known + 1))
    near = rule._replace(roots=(*[()] * known, (known - 1,)))
    tags = 0.01 * np.arange(known + 1)
    far, close = (peaks(*tags, xy=[*places, [[10, y]]]) for y in (80, 29))
    assert [len(group_peaks(*far, by)) for by in (rule, near)] == [1, apart]
    assert len(group_peaks(*close, near)) == 1


def test_where_a_person_has_no_wrist_its_hand_may_be_anywhere():
    given = peaks(0.0, -9.0, 0.2, xy=[[[10, 0]], [[10, 20]], [[10, 80]]])
    near = RULE._replace(roots=((), (), (1,)))
    assert len(group_peaks(*given, near)) == 2  # the wrist is another person's


def test_the_options_of_a_decoder_are_read_off_its_skeleton():
    published = decoder_of(WHOLEBODY)
    assert published.grouping == Grouping(WHOLEBODY.grouping_order, 0.1, 1.0)
    chosen = decoder_of(WHOLEBODY, by_limb=True, near_roots=True, anatomical=True)
    assert chosen.limb_of == WHOLEBODY.limb_of
    assert chosen.roots[WHOLEBODY.keypoints.index("left_hand_root")] == (9,)
    assert chosen.grouping_order == anatomical_order(WHOLEBODY)
    assert chosen.grouping_order[: BODY.size] == BODY.grouping_order
    assert sorted(chosen.grouping_order) == list(range(WHOLEBODY.size))
