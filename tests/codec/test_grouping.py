"""Grouping of peaks into people: parity with a plain implementation, and its options."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.codec.grouping import GroupingConfig, compute_person_tags, gather_poses, group_peaks
from tagpose.skeletons.coco import BODY, WHOLEBODY, coco_grouping_order

CONFIG = GroupingConfig(order=(0, 1, 2))


def make_peaks(*tags, xy=None):
    """Return positions, scores and tags of peaks; `tags` has one or more tags for each keypoint."""
    tags = np.array(tags, np.float32).reshape(len(tags), -1, 1)
    scores = np.linspace(0.9, 0.8, tags.shape[1], dtype=np.float32) * np.ones(
        (len(tags), 1), np.float32
    )
    positions = np.zeros((*scores.shape, 2), np.int32) if xy is None else np.array(xy, np.int32)
    return positions, scores, tags


def group_plainly(scores, tags, max_tag_distance, person_score_tie_break=False):
    """Group peaks as in MMPose: one cost matrix per keypoint, and people in a dictionary."""
    people = {}
    for keypoint, (peak_scores, peak_tags) in enumerate(zip(scores, tags, strict=True)):
        numbers = [n for n, score in enumerate(peak_scores) if score > 0]
        if not numbers:
            continue
        owners = np.full(len(numbers), -1)
        if people:
            means = np.array([np.mean(p["tags"], 0, dtype=np.float32) for p in people.values()])
            distances = np.linalg.norm(
                peak_tags[numbers, None].astype(float) - means[None], axis=-1
            )
            weights = [p["score"] if person_score_tie_break else 1.0 for p in people.values()]
            cost = np.round(distances) * 100 - peak_scores[numbers, None].astype(float) * weights
            unmatched = max(0, len(numbers) - len(people))
            cost = np.concatenate([cost, np.full((len(numbers), unmatched), 1e10)], 1)
            rows, columns = linear_sum_assignment(cost)
            for row, column in zip(rows, columns, strict=True):
                if column < len(people) and distances[row, column] < max_tag_distance:
                    owners[row] = column
        keys = list(people)
        for n, owner in zip(numbers, owners, strict=True):
            if owner < 0:
                people.setdefault(peak_tags[n, 0], {"peaks": {}, "score": 0.0})["tags"] = []
            person = people[keys[owner] if owner >= 0 else peak_tags[n, 0]]
            person["peaks"][keypoint] = n
            person["tags"].append(peak_tags[n])
            person["score"] += float(peak_scores[n]) / len(scores)
    return [[person["peaks"].get(k, -1) for k in range(len(scores))] for person in people.values()]


@given(
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 0.3, 1.0, 5.0, 100.0]),
    count=st.integers(1, 8),
    views=st.integers(1, 2),
    integer_tags=st.booleans(),
    person_score_tie_break=st.booleans(),
)
def test_grouping_equals_the_plain_implementation(
    seed, spread, count, views, integer_tags, person_score_tie_break
):
    random, keypoints = np.random.default_rng(seed), 7
    scores = -np.sort(-random.random((keypoints, count)), 1).astype(np.float32)
    scores[np.arange(count) >= random.integers(0, count + 1, (keypoints, 1))] = 0
    tags = (spread * random.normal(size=(keypoints, count, views))).astype(np.float32)
    tags = tags.round() if integer_tags else tags  # with equal tags and equal distances
    order = tuple(range(keypoints))
    config = GroupingConfig(order=order, person_score_tie_break=person_score_tie_break)
    xy = np.zeros((keypoints, count, 2), np.int32)
    expected = group_plainly(scores, tags, 1.0, person_score_tie_break)
    assert group_peaks(xy, scores, tags, config).tolist() == expected


def test_mean_tag_is_over_keypoints_or_over_parts():
    # two tags of 0 in one part, and one of 0.9 in another: the mean is 0.3, or 0.45 over parts
    peaks = make_peaks(0.0, 0.0, 0.9, 1.4)
    by_keypoint = replace(CONFIG, order=(0, 1, 2, 3))
    by_part = replace(by_keypoint, part_index=(0, 0, 1, 1))
    assert [len(group_peaks(*peaks, config)) for config in (by_keypoint, by_part)] == [2, 1]


def test_person_tags_are_the_mean_tags_that_grouping_compares():
    tags, detected = np.array([[[0.0], [0.0], [0.9]]], np.float32), np.ones((1, 3), bool)
    assert compute_person_tags(tags, detected) == pytest.approx(0.3)
    assert compute_person_tags(tags, detected, part_index=(0, 0, 1)) == pytest.approx(0.45)


@given(scores=st.lists(st.integers(1, 1000), min_size=6, max_size=6, unique=True))
def test_person_score_tie_break_gives_the_best_peaks_with_equal_tags_to_the_best_person(scores):
    scores = -np.sort(-np.array(scores, np.float32).reshape(3, 2) / 1000, 1)
    tags = 0.01 * np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    config = replace(CONFIG, person_score_tie_break=True)
    people = group_peaks(np.zeros((3, 2, 2), np.int32), scores, tags, config)
    assert people.tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("detected", "expected"), [(5, 2), (4, 1)])
def test_a_hand_far_from_its_wrist_belongs_to_another_person_if_the_size_is_known(
    detected, expected
):
    # a column of keypoints, of which the last is the wrist; the finger is three lengths away
    positions = [[[10, 20 * n / (detected - 1)]] for n in range(detected)]
    anywhere = replace(CONFIG, order=tuple(range(detected + 1)))
    near_parent = replace(anywhere, parents=(*[()] * detected, (detected - 1,)))
    tags = 0.01 * np.arange(detected + 1)
    far, close = (make_peaks(*tags, xy=[*positions, [[10, y]]]) for y in (80, 29))
    people = [len(group_peaks(*far, config)) for config in (anywhere, near_parent)]
    assert people == [1, expected]
    assert len(group_peaks(*close, near_parent)) == 1


def test_a_hand_may_be_anywhere_if_the_wrist_is_missing():
    peaks = make_peaks(0.0, -9.0, 0.2, xy=[[[10, 0]], [[10, 20]], [[10, 80]]])
    near_parent = replace(CONFIG, parents=((), (), (1,)))
    assert len(group_peaks(*peaks, near_parent)) == 2  # the wrist belongs to the other person


def test_gathered_poses_are_sorted_and_limited_by_number_and_score():
    peaks = make_peaks([0.0, 5.0, 9.0], [5.0, 0.0, 20.0], [0.0, 40.0, 60.0])
    person_peaks = group_peaks(*peaks, CONFIG)
    everyone = gather_poses(person_peaks, *peaks)
    assert (np.diff(everyone.scores) <= 0).all()
    assert everyone.scores[0] == pytest.approx((0.9 + 0.85 + 0.9) / 3)
    by_number = gather_poses(person_peaks, *peaks, max_people=2)
    by_score = gather_poses(person_peaks, *peaks, min_person_score=0.5)
    assert len(by_number.scores) == 2
    assert len(by_score.scores) == (everyone.scores >= 0.5).sum() == 2
    for poses in (by_number, by_score):
        assert (poses.keypoints == everyone.keypoints[:2]).all()
        assert (poses.tags == everyone.tags[:2]).all()


def test_a_tag_distance_of_0_is_an_error():
    with pytest.raises(ValueError, match="max_tag_distance must be above 0, got 0"):
        GroupingConfig(order=(0,), max_tag_distance=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": (0, 2)}, "order must contain each keypoint once, got"),
        ({"part_index": (0, 0)}, "part_index has 2 entries for 3 keypoints"),
        ({"part_index": (0, -1, 0)}, "entries of part_index must be 0 or more, got"),
        ({"parents": ((), (3,), ())}, "entries of parents must be from 0 to 2, got"),
        ({"parents": ((),)}, "parents has 1 entries"),
    ],
)
def test_options_that_do_not_fit_the_keypoints_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **options)


@pytest.mark.parametrize(
    ("tag_index", "message"), [((0,), "1 entries for 3 keypoints"), ((-1, 0, 1), "0 or more")]
)
def test_a_tag_index_that_does_not_fit_the_keypoints_is_an_error(tag_index, message):
    with pytest.raises(ValueError, match=message):
        AssociativeEmbeddingDecoder(CONFIG, tag_index=tag_index)


def test_build_decoder_derives_its_options_from_the_skeleton():
    config = GroupingConfig(WHOLEBODY.grouping_order, person_score_tie_break=True)
    assert build_decoder(WHOLEBODY).grouping == config
    grouping = build_decoder(
        WHOLEBODY, part_mean_tags=True, require_near_parent=True, coco_order=True
    ).grouping
    assert grouping.part_index == WHOLEBODY.part_index
    assert grouping.parents[WHOLEBODY.keypoints.index("left_hand_root")] == (9,)
    assert grouping.order == coco_grouping_order(WHOLEBODY)
    assert grouping.order[: BODY.size] == BODY.grouping_order
    assert sorted(grouping.order) == list(range(WHOLEBODY.size))
