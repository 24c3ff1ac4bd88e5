"""Peaks become people by one rule, of which parts can be chosen."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.codec.grouping import GroupingConfig, compute_person_tags, gather_poses, group_peaks
from tagpose.skeletons.coco import BODY, WHOLEBODY, coco_grouping_order

RULE = GroupingConfig(order=(0, 1, 2))


def peaks(*tags, xy=None):
    """Positions, scores and tags of one peak of each keypoint, or as many as there are tags."""
    tags = np.array(tags, np.float32).reshape(len(tags), -1, 1)
    scores = np.linspace(0.9, 0.8, tags.shape[1], dtype=np.float32) * np.ones(
        (len(tags), 1), np.float32
    )
    places = np.zeros((*scores.shape, 2), np.int32) if xy is None else np.array(xy, np.int32)
    return places, scores, tags


def group_plainly(scores, tags, max_tag_distance):
    """The rule as MMPose writes it down: a matrix for each keypoint, people in a dictionary."""
    people = {}
    for keypoint, (some, own) in enumerate(zip(scores, tags, strict=True)):
        there = [n for n, score in enumerate(some) if score > 0]
        if not there:
            continue
        owners = np.full(len(there), -1)
        if people:
            means = np.array([np.mean(p["tags"], 0, dtype=np.float32) for p in people.values()])
            apart = np.linalg.norm(own[there, None].astype(float) - means[None], axis=-1)
            cost = np.round(apart) * 100 - some[there, None]
            spare = max(0, len(there) - len(people))
            cost = np.concatenate([cost, np.full((len(there), spare), 1e10)], 1)
            rows, columns = linear_sum_assignment(cost)
            for row, column in zip(rows, columns, strict=True):
                if column < len(people) and apart[row, column] < max_tag_distance:
                    owners[row] = column
        keys = list(people)
        for n, owner in zip(there, owners, strict=True):
            if owner < 0:
                people.setdefault(own[n, 0], {"peaks": {}})["tags"] = []
            person = people[keys[owner] if owner >= 0 else own[n, 0]]
            person["peaks"][keypoint] = n
            person["tags"].append(own[n])
    return [[person["peaks"].get(k, -1) for k in range(len(scores))] for person in people.values()]


@given(
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 0.3, 1.0, 5.0, 100.0]),
    count=st.integers(1, 8),
    views=st.integers(1, 2),
    whole=st.booleans(),
)
def test_peaks_are_grouped_as_by_the_plain_rule(seed, spread, count, views, whole):
    random, keypoints = np.random.default_rng(seed), 7
    scores = -np.sort(-random.random((keypoints, count)), 1).astype(np.float32)
    scores[np.arange(count) >= random.integers(0, count + 1, (keypoints, 1))] = 0
    tags = (spread * random.normal(size=(keypoints, count, views))).astype(np.float32)
    tags = tags.round() if whole else tags  # with equal tags and equal distances
    config = GroupingConfig(order=tuple(range(keypoints)))
    xy = np.zeros((keypoints, count, 2), np.int32)
    assert group_peaks(xy, scores, tags, config).tolist() == group_plainly(scores, tags, 1.0)


def test_a_person_is_the_mean_of_its_keypoints_or_of_its_parts():
    # two keypoints of a part at 0, one at 0.9 of another: the mean is 0.3, or 0.45
    given = peaks(0.0, 0.0, 0.9, 1.4)
    by_keypoint = replace(RULE, order=(0, 1, 2, 3))
    by_part = replace(by_keypoint, part_index=(0, 0, 1, 1))
    assert [len(group_peaks(*given, by)) for by in (by_keypoint, by_part)] == [2, 1]


def test_tags_of_a_person_are_those_that_grouping_compares():
    tags, there = np.array([[[0.0], [0.0], [0.9]]], np.float32), np.ones((1, 3), bool)
    assert compute_person_tags(tags, there) == pytest.approx(0.3)
    assert compute_person_tags(tags, there, part_index=(0, 0, 1)) == pytest.approx(0.45)


def test_of_equal_rounded_distances_the_nearer_assignment_is_taken_where_asked():
    two = replace(RULE, order=(0, 1))
    given = peaks([0.0, 0.4], [0.35, 0.1])
    assert group_peaks(*given, two).tolist() == [[0, 0], [1, 1]]  # as the solver meets them
    assert group_peaks(*given, replace(two, distance_tie_break=True)).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("known", "apart"), [(5, 2), (4, 1)])
def test_a_hand_far_from_its_wrist_is_somebody_elses_where_the_persons_size_is_known(known, apart):
    # the first ones stand in a row, the last of them a wrist; a finger is three lengths away
    places = [[[10, 20 * at / (known - 1)]] for at in range(known)]
    rule = replace(RULE, order=tuple(range(known + 1)))
    near = replace(rule, parents=(*[()] * known, (known - 1,)))
    tags = 0.01 * np.arange(known + 1)
    far, close = (peaks(*tags, xy=[*places, [[10, y]]]) for y in (80, 29))
    assert [len(group_peaks(*far, by)) for by in (rule, near)] == [1, apart]
    assert len(group_peaks(*close, near)) == 1


def test_where_a_person_has_no_wrist_its_hand_may_be_anywhere():
    given = peaks(0.0, -9.0, 0.2, xy=[[[10, 0]], [[10, 20]], [[10, 80]]])
    near = replace(RULE, parents=((), (), (1,)))
    assert len(group_peaks(*given, near)) == 2  # the wrist is another person's


def test_the_best_people_come_by_falling_score_and_weak_ones_are_left_out():
    given = peaks([0.0, 5.0, 9.0], [5.0, 0.0, 20.0], [0.0, 40.0, 60.0])
    owned = group_peaks(*given, RULE)
    every = gather_poses(owned, *given)
    assert (np.diff(every.scores) <= 0).all()
    assert every.scores[0] == pytest.approx((0.9 + 0.85 + 0.9) / 3)
    best = gather_poses(owned, *given, max_people=2)
    sure = gather_poses(owned, *given, min_person_score=0.5)
    assert len(best.scores) == 2
    assert len(sure.scores) == (every.scores >= 0.5).sum() == 2
    for one in (best, sure):
        assert (one.keypoints == every.keypoints[:2]).all()
        assert (one.tags == every.tags[:2]).all()


def test_a_tag_distance_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="max_tag_distance is 0; it must be above 0"):
        GroupingConfig(order=(0,), max_tag_distance=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"order": (0, 2)}, "order is"),
        ({"part_index": (0, 0)}, "part_index has 2 entries and there are 3 keypoints"),
        ({"part_index": (0, -1, 0)}, "part_index is"),
        ({"parents": ((), (3,), ())}, "parents is"),
        ({"parents": ((),)}, "parents has 1 entries"),
    ],
)
def test_a_rule_that_does_not_fit_the_keypoints_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        replace(RULE, **options)


@pytest.mark.parametrize(("tag_index", "says"), [((0,), "1 entries"), ((-1, 0, 1), "0 or more")])
def test_an_index_of_tag_maps_that_does_not_fit_the_keypoints_is_refused(tag_index, says):
    with pytest.raises(ValueError, match=says):
        AssociativeEmbeddingDecoder(RULE, tag_index=tag_index)


def test_the_options_of_a_decoder_are_read_off_its_skeleton():
    assert build_decoder(WHOLEBODY).grouping == GroupingConfig(WHOLEBODY.grouping_order)
    chosen = build_decoder(
        WHOLEBODY, part_mean_tags=True, require_near_parent=True, coco_order=True
    ).grouping
    assert chosen.part_index == WHOLEBODY.part_index
    assert chosen.parents[WHOLEBODY.keypoints.index("left_hand_root")] == (9,)
    assert chosen.order == coco_grouping_order(WHOLEBODY)
    assert chosen.order[: BODY.size] == BODY.grouping_order
    assert sorted(chosen.order) == list(range(WHOLEBODY.size))
