"""Smoothing: steadier keypoints, short gaps filled, and nothing passes between people."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.synthetic_motion import person_motion
from tagpose.inference.results import make_pose_result
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import Poses
from tagpose.video.smoothing import FrameResult, KeypointSmoother

RATE = 30.0
IMAGE = np.zeros((4, 4, 3), np.uint8)
JITTER = 2.0  # image pixels


def result(number, keypoints, tracks, size=(900, 700)):
    """A frame with people [P, K, 3]."""
    scores = keypoints[..., 2].mean(1)
    people = make_pose_result(
        Poses(keypoints.astype(np.float32), scores.astype(np.float32)), size, WHOLEBODY
    )
    return FrameResult(number, number / RATE, IMAGE, people._replace(tracks=tuple(tracks)))


def video(*people):
    """Frames of people [N, K, 3], whose tracks are their places."""
    tracks = range(len(people))
    return [result(n, np.stack(all_), tracks) for n, all_ in enumerate(zip(*people, strict=True))]


def walk(seed, frames=90, jitter=JITTER):
    """The ground truth [N, K, 2] of a moving person, and its noisy detection [N, K, 3]."""
    ground_truth = np.stack([*person_motion(seed, frames, rate=RATE, height=500.0)])
    noise = np.random.default_rng(seed).normal(0, jitter, ground_truth.shape)
    return ground_truth, np.concatenate(
        [ground_truth + noise, np.full((*ground_truth.shape[:2], 1), 0.9)], 2
    )


def keypoints_of(results, track):
    """Keypoints [N, K, 3] of a track that is in every frame."""
    return np.stack([r.result.keypoints[r.result.tracks.index(track)] for r in results])


def jitter_and_lag(found_at, ground_truth):
    """Pixels of the median second difference of the error, and milliseconds behind the ground truth."""
    error = found_at[..., :2] - ground_truth
    velocity = np.gradient(ground_truth, 1 / RATE, axis=0)
    steps = np.linalg.norm(error[2:] - 2 * error[1:-1] + error[:-2], axis=-1)
    lag = -(error * velocity).sum() / (velocity**2).sum()
    return float(np.median(steps)), 1000 * float(lag)


def test_jitter_falls_and_the_lag_stays_below_a_frame():
    ground_truth, detected = walk(0)
    smooth = keypoints_of(list(KeypointSmoother()(video(detected))), 0)
    (before, _), (after, lag) = (
        jitter_and_lag(detected, ground_truth),
        jitter_and_lag(smooth, ground_truth),
    )
    assert after < 0.6 * before
    assert lag < 1000 / RATE


def test_a_person_that_does_not_move_becomes_steady():
    still = np.repeat(walk(0, frames=1)[0], 90, axis=0)
    noise = np.random.default_rng(0).normal(0, JITTER, still.shape)
    detected = np.concatenate([still + noise, np.full((*still.shape[:2], 1), 0.9)], 2)
    smooth = keypoints_of(list(KeypointSmoother()(video(detected))), 0)[30:]
    assert np.abs(smooth[..., :2] - still[30:]).mean() < 0.5 * np.abs(noise[30:]).mean()


@settings(max_examples=5)
@given(seed=st.integers(0, 20), order=st.lists(st.booleans(), min_size=20, max_size=20))
def test_a_person_is_smoothed_as_if_alone_whoever_else_is_there_and_in_whatever_order(seed, order):
    one, two = walk(0, 20)[1], walk(seed, 20)[1]
    one[5:8, 40:] = 0  # a gap to fill
    alone = keypoints_of(list(KeypointSmoother()(video(one))), 0)
    both = video(one, two)
    mixed = [
        result(n, frame.result.keypoints[::-1], [1, 0]) if swapped else frame
        for n, (frame, swapped) in enumerate(zip(both, order, strict=True))
    ]
    assert np.array_equal(keypoints_of(list(KeypointSmoother()(mixed)), 0), alone)


def test_a_new_track_begins_where_its_person_is():
    one, two = walk(0, 10)[1], walk(1, 10)[1]
    frames = [result(n, (one if n < 5 else two)[n][None], [int(n >= 5)]) for n in range(10)]
    smooth = list(KeypointSmoother()(frames))
    assert np.allclose(smooth[5].result.keypoints[0], two[5])
    assert len(smooth[4].result.scores) == 1


def test_people_without_a_track_and_weak_keypoints_are_left_as_they_are():
    _, detected = walk(0, 20)
    frames = [result(n, keypoints[None], [None]) for n, keypoints in enumerate(detected)]
    for before, after in zip(frames, KeypointSmoother()(frames), strict=True):
        assert np.array_equal(before.result.keypoints, after.result.keypoints)
    weak = detected.copy()
    weak[:, :9, 2] = 0.1
    smooth = keypoints_of(list(KeypointSmoother()(video(weak))), 0)
    assert np.allclose(smooth[:, :9], weak[:, :9], atol=1e-3)


@pytest.mark.parametrize(("missing", "filled"), [(1, True), (5, True), (6, False), (20, False)])
@pytest.mark.parametrize("whole_person", [False, True])
def test_gaps_are_filled_up_to_the_limit(missing, filled, whole_person):
    ground_truth, detected = walk(0, 60, jitter=0.0)
    gap = slice(20, 20 + missing)  # 5 frames are within 0.2 s of both ends
    if whole_person:
        frames = [
            result(n, keypoints[None][: 0 if 20 <= n < 20 + missing else 1],
                   [] if 20 <= n < 20 + missing else [7])
            for n, keypoints in enumerate(detected)
        ]  # fmt: skip
    else:
        detected[gap, 50] = 0
        frames = [result(n, keypoints[None], [7]) for n, keypoints in enumerate(detected)]
    results = list(KeypointSmoother().fill_gaps(frames))
    assert [r.number for r in results] == list(range(60))
    inside = results[gap]
    if whole_person and not filled:
        assert all(r.result.tracks == () for r in inside)
        return
    keypoints = keypoints_of(inside, 7)[:, 50]
    assert (keypoints[:, 2] > 0).all() == filled
    if filled:
        assert keypoints[:, 2] == pytest.approx(0.9)
        assert np.abs(keypoints[:, :2] - ground_truth[gap, 50]).max() < 8
        assert all(
            len(r.result.boxes) == len(r.result.part_confidences["face"]) == 1 for r in inside
        )


def test_gaps_at_the_ends_and_across_a_change_of_size_stay_open():
    _, detected = walk(0, 30)
    detected[[0, 29], 3] = 0
    detected[14, 3] = 0
    frames = [
        result(n, keypoints[None], [0], (900, 700) if n < 15 else (450, 350))
        for n, keypoints in enumerate(detected)
    ]
    keypoints = keypoints_of(list(KeypointSmoother()(frames)), 0)
    assert (keypoints[[0, 14, 29], 3, 2] == 0).all()
    assert np.allclose(keypoints[15, 4], detected[15, 4], atol=1e-3)


def test_no_more_frames_wait_than_the_limit_needs():
    _, detected = walk(0, 60)
    taken = 0

    def source():
        nonlocal taken
        for frame in video(detected):
            taken += 1
            yield frame

    for given_back, _ in enumerate(KeypointSmoother(max_gap=0.2)(source()), 1):
        assert taken - given_back <= 7
    for given_back, _ in enumerate(KeypointSmoother(max_gap=0)(video(detected)), 1):
        assert given_back <= 60


@pytest.mark.parametrize("option", ["min_cutoff", "derivative_cutoff"])
def test_a_frequency_of_zero_is_refused(option):
    with pytest.raises(ValueError, match=f"{option} is 0"):
        KeypointSmoother(**{option: 0})
