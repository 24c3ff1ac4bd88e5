"""Smoothing reduces jitter, fills short gaps and does not mix people."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.synthetic_motion import person_motion
from tagpose.inference.results import make_pose_result
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import Poses
from tagpose.video.frames import FrameResult
from tagpose.video.smoothing import KeypointSmoother

RATE = 30.0
IMAGE = np.zeros((4, 4, 3), np.uint8)
JITTER = 2.0  # image pixels


def make_frame(number, keypoints, tracks, size=(900, 700)):
    """Return a frame with people [P, K, 3]."""
    scores = keypoints[..., 2].mean(1)
    people = make_pose_result(
        Poses(keypoints.astype(np.float32), scores.astype(np.float32)), size, WHOLEBODY
    )
    return FrameResult(number, number / RATE, IMAGE, people._replace(tracks=tuple(tracks)))


def make_frames(*people):
    """Return the frames of people [N, K, 3] with tracks 0, 1, ..."""
    tracks = range(len(people))
    return [
        make_frame(n, np.stack(keypoints), tracks)
        for n, keypoints in enumerate(zip(*people, strict=True))
    ]


def make_motion(seed, frames=90, jitter=JITTER):
    """Return the ground truth [N, K, 2] of a moving person, and noisy detections [N, K, 3]."""
    ground_truth = np.stack([*person_motion(seed, frames, rate=RATE, height=500.0)])
    noise = np.random.default_rng(seed).normal(0, jitter, ground_truth.shape)
    return ground_truth, np.concatenate(
        [ground_truth + noise, np.full((*ground_truth.shape[:2], 1), 0.9)], 2
    )


def select_track(frames, track):
    """Return the keypoints [N, K, 3] of a track that is in every frame."""
    return np.stack([f.result.keypoints[f.result.tracks.index(track)] for f in frames])


def measure_jitter_and_lag(keypoints, ground_truth):
    """Return the median second difference of the error in pixels, and the lag in milliseconds."""
    error = keypoints[..., :2] - ground_truth
    velocity = np.gradient(ground_truth, 1 / RATE, axis=0)
    steps = np.linalg.norm(error[2:] - 2 * error[1:-1] + error[:-2], axis=-1)
    lag = -(error * velocity).sum() / (velocity**2).sum()
    return float(np.median(steps)), 1000 * float(lag)


def test_smoothing_reduces_jitter_with_a_lag_below_one_frame():
    ground_truth, detected = make_motion(0)
    smooth = select_track(KeypointSmoother()(make_frames(detected)), 0)
    before, _ = measure_jitter_and_lag(detected, ground_truth)
    after, lag = measure_jitter_and_lag(smooth, ground_truth)
    assert after < 0.6 * before
    assert lag < 1000 / RATE


def test_smoothing_halves_the_error_of_a_person_at_rest():
    still = np.repeat(make_motion(0, frames=1)[0], 90, axis=0)
    noise = np.random.default_rng(0).normal(0, JITTER, still.shape)
    detected = np.concatenate([still + noise, np.full((*still.shape[:2], 1), 0.9)], 2)
    smooth = select_track(KeypointSmoother()(make_frames(detected)), 0)[30:]
    assert np.abs(smooth[..., :2] - still[30:]).mean() < 0.5 * np.abs(noise[30:]).mean()


@settings(max_examples=5)
@given(seed=st.integers(0, 20), order=st.lists(st.booleans(), min_size=20, max_size=20))
def test_smoothing_is_independent_of_other_people_and_their_order(seed, order):
    first, second = make_motion(0, 20)[1], make_motion(seed, 20)[1]
    first[5:8, 40:] = 0  # a gap to fill
    expected = select_track(KeypointSmoother()(make_frames(first)), 0)
    mixed = [
        make_frame(n, frame.result.keypoints[::-1], [1, 0]) if swapped else frame
        for n, (frame, swapped) in enumerate(zip(make_frames(first, second), order, strict=True))
    ]
    assert np.array_equal(select_track(KeypointSmoother()(mixed), 0), expected)


def test_a_new_track_starts_at_the_detected_position():
    first, second = make_motion(0, 10)[1], make_motion(1, 10)[1]
    frames = [
        make_frame(n, (first if n < 5 else second)[n][None], [int(n >= 5)]) for n in range(10)
    ]
    smooth = list(KeypointSmoother()(frames))
    assert np.allclose(smooth[5].result.keypoints[0], second[5])
    assert len(smooth[4].result.scores) == 1


def test_people_without_a_track_and_weak_keypoints_are_not_changed():
    _, detected = make_motion(0, 20)
    frames = [make_frame(n, keypoints[None], [None]) for n, keypoints in enumerate(detected)]
    for before, after in zip(frames, KeypointSmoother()(frames), strict=True):
        assert np.array_equal(before.result.keypoints, after.result.keypoints)
    weak = detected.copy()
    weak[:, :9, 2] = 0.1
    smooth = select_track(KeypointSmoother()(make_frames(weak)), 0)
    assert np.allclose(smooth[:, :9], weak[:, :9], atol=1e-3)


@pytest.mark.parametrize(("missing", "filled"), [(1, True), (5, True), (6, False), (20, False)])
@pytest.mark.parametrize("whole_person", [False, True])
def test_gaps_are_filled_up_to_the_limit(missing, filled, whole_person):
    ground_truth, detected = make_motion(0, 60, jitter=0.0)
    gap = slice(20, 20 + missing)  # a gap of 5 frames lasts 0.2 s
    if whole_person:
        frames = [
            make_frame(n, keypoints[None][: 0 if 20 <= n < 20 + missing else 1],
                       [] if 20 <= n < 20 + missing else [7])
            for n, keypoints in enumerate(detected)
        ]  # fmt: skip
    else:
        detected[gap, 50] = 0
        frames = [make_frame(n, keypoints[None], [7]) for n, keypoints in enumerate(detected)]
    results = list(KeypointSmoother().fill_gaps(frames))
    assert [r.number for r in results] == list(range(60))
    inside = results[gap]
    if whole_person and not filled:
        assert all(r.result.tracks == () for r in inside)
        return
    keypoints = select_track(inside, 7)[:, 50]
    assert (keypoints[:, 2] > 0).all() == filled
    if filled:
        assert keypoints[:, 2] == pytest.approx(0.9)
        assert np.abs(keypoints[:, :2] - ground_truth[gap, 50]).max() < 8
        assert all(
            len(r.result.boxes) == len(r.result.part_confidences["face"]) == 1 for r in inside
        )


def test_gaps_at_the_ends_and_at_a_change_of_size_are_not_filled():
    _, detected = make_motion(0, 30)
    detected[[0, 29], 3] = 0
    detected[14, 3] = 0
    frames = [
        make_frame(n, keypoints[None], [0], (900, 700) if n < 15 else (450, 350))
        for n, keypoints in enumerate(detected)
    ]
    keypoints = select_track(KeypointSmoother()(frames), 0)
    assert (keypoints[[0, 14, 29], 3, 2] == 0).all()
    assert np.allclose(keypoints[15, 4], detected[15, 4], atol=1e-3)


def test_the_buffer_holds_no_more_frames_than_the_longest_gap():
    _, detected = make_motion(0, 60)
    num_read = 0

    def read_frames():
        nonlocal num_read
        for frame in make_frames(detected):
            num_read += 1
            yield frame

    for num_yielded, _ in enumerate(KeypointSmoother(max_gap=0.2)(read_frames()), 1):
        assert num_read - num_yielded <= 7
    for num_yielded, _ in enumerate(KeypointSmoother(max_gap=0)(make_frames(detected)), 1):
        assert num_yielded <= 60


@pytest.mark.parametrize("option", ["min_cutoff", "derivative_cutoff"])
def test_a_cutoff_of_zero_is_an_error(option):
    with pytest.raises(ValueError, match=f"{option} is 0"):
        KeypointSmoother(**{option: 0})
