"""People keep their tracks from frame to frame."""

from fractions import Fraction
from itertools import count

import numpy as np
import pytest

from tagpose.inference.results import make_pose_result
from tagpose.skeletons.coco import BODY
from tagpose.structures import Poses
from tagpose.video.timestamps import PresentationClock
from tagpose.video.tracker import PersonTracker

RATE = Fraction(10)


def people_at(*left, score=0.8):
    """Return people with boxes of 40 x 100 pixels at these left edges."""
    keypoints = np.full((len(left), BODY.size, 3), score, np.float32)
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 1, (BODY.size, 2)) * (40, 100)
    keypoints[..., :2] = shape + np.array(left, np.float32).reshape(-1, 1, 1) * (1, 0)
    scores = np.full(len(left), score, np.float32)
    return make_pose_result(Poses(keypoints, scores), (640, 200), BODY)


def make_update(tracker):
    """Return a function that updates the tracker with people at the next frame's time."""
    times = (float(number / RATE) for number in count())
    return lambda *left, score=0.8: tracker.update(people_at(*left, score=score), next(times))


def test_tracks_survive_a_change_of_order_and_a_short_absence():
    update = make_update(PersonTracker(RATE, max_lost_seconds=1.0))
    assert update(10, 300) == [None, None]  # first frame
    first, second = update(12, 302)
    assert None not in (first, second)
    assert first != second
    assert update(306, 14) == [second, first]
    assert update(18) == [first]
    assert update() == []
    assert update(26, 318) == [first, second]


@pytest.mark.parametrize(("absence", "same"), [(0.5, True), (2.0, False)])
def test_max_lost_seconds_is_independent_of_the_real_frame_rate(absence, same):
    tracker = PersonTracker(RATE, max_lost_seconds=1.0)  # the real rate is 4 frames per second
    times = (0.25 * number for number in count())
    for _ in range(4):
        (track,) = tracker.update(people_at(10), next(times))
    for _ in range(int(absence / 0.25)):
        tracker.update(people_at(), next(times))
    for _ in range(2):
        (later_track,) = tracker.update(people_at(10), next(times))
    assert (later_track == track) is same


@pytest.mark.parametrize(("absence", "same"), [(5, True), (20, False)])
@pytest.mark.parametrize("restart", [0.0, 599.9, 600.0])
def test_tracks_survive_a_clock_that_restarts_or_stops(restart, absence, same):
    tracker, clock = PersonTracker(RATE, max_lost_seconds=1.0), PresentationClock(float(1 / RATE))
    times = (float(restart + number / RATE) for number in count())
    for time in (599.8, 599.9, 600.0, next(times)):
        (track,) = tracker.update(people_at(10), clock(time))
    assert track is not None
    for _ in range(absence):
        tracker.update(people_at(), clock(next(times)))
    for _ in range(2):
        (later_track,) = tracker.update(people_at(10), clock(next(times)))
    assert (later_track == track) is same


def test_weak_people_start_no_track_but_continue_one():
    update = make_update(PersonTracker(RATE, min_track_score=0.3, min_keypoint_score=0.05))
    for left in (8, 10):
        assert update(left, score=0.1) == [None]
    update(12, score=0.5)
    (track,) = update(14, score=0.5)
    assert track is not None
    assert update(16, score=0.1) == [track]


def test_tracks_survive_a_change_of_the_frame_size():
    tracker = PersonTracker(RATE)
    small = people_at(30, 300)
    large = small._replace(
        keypoints=small.keypoints * np.float32([2, 2, 1]), boxes=2 * small.boxes, size=(1280, 400)
    )
    tracker.update(small, 0.0)
    before = tracker.update(small, 0.1)
    assert None not in before
    assert tracker.update(large, 0.2) == before


def test_weak_keypoints_at_wrong_positions_do_not_change_tracks():
    tracker, rng = PersonTracker(RATE), np.random.default_rng(0)
    before = None
    for number in range(20):
        people = people_at(30, 300)
        keypoints = people.keypoints.copy()
        keypoints[:, :4, :2] = rng.uniform(0, 1, (2, 4, 2)) * (640, 200)
        keypoints[:, :4, 2] = 0.1
        tracks = tracker.update(people._replace(keypoints=keypoints), number / 10)
        assert before in (None, [None, None], tracks)
        before = tracks


def test_people_with_weak_keypoints_only_have_no_track():
    tracker = PersonTracker(RATE)
    for number in range(3):
        people = people_at(30, 300)
        people.keypoints[1, :, 2] = 0.1
        tracks = tracker.update(people, number / 10)
    assert tracks == [0, None]
