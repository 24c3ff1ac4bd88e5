"""Poses keep their tracks from frame to frame."""

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
    """Poses of 40 x 100 pixels whose boxes begin there."""
    keypoints = np.full((len(left), BODY.size, 3), score, np.float32)
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 1, (BODY.size, 2)) * (40, 100)
    keypoints[..., :2] = shape + np.array(left, np.float32).reshape(-1, 1, 1) * (1, 0)
    scores = np.full(len(left), score, np.float32)
    return make_pose_result(Poses(keypoints, scores), (640, 200), BODY)


def followed(tracks):
    """Follows people from frame to frame."""
    times = (float(number / RATE) for number in count())
    return lambda *left, score=0.8: tracks.update(people_at(*left, score=score), next(times))


def test_people_keep_their_numbers_whatever_their_order_and_after_a_moment_out_of_sight():
    see = followed(PersonTracker(RATE, max_lost_seconds=1.0))
    assert see(10, 300) == [None, None]  # seen once
    one, two = see(12, 302)
    assert None not in (one, two)
    assert one != two
    assert see(306, 14) == [two, one]
    assert see(18) == [one]
    assert see() == []
    assert see(26, 318) == [one, two]


@pytest.mark.parametrize(("away", "known"), [(0.5, True), (2.0, False)])
def test_patience_is_in_seconds_however_few_frames_a_camera_shows(away, known):
    tracks = PersonTracker(RATE, max_lost_seconds=1.0)  # it says RATE, and shows 4 a second
    times = (0.25 * number for number in count())
    for _ in range(4):
        (one,) = tracks.update(people_at(10), next(times))
    for _ in range(int(away / 0.25)):
        tracks.update(people_at(), next(times))
    for _ in range(2):
        (again,) = tracks.update(people_at(10), next(times))
    assert (again == one) is known


@pytest.mark.parametrize(("away", "known"), [(5, True), (20, False)])
@pytest.mark.parametrize("again", [0.0, 599.9, 600.0])
def test_patience_goes_on_where_a_clock_stands_or_starts_again(again, away, known):
    tracks, clock = PersonTracker(RATE, max_lost_seconds=1.0), PresentationClock(float(1 / RATE))
    times = (float(again + number / RATE) for number in count())
    for time in (599.8, 599.9, 600.0, next(times)):
        (one,) = tracks.update(people_at(10), clock(time))
    assert one is not None
    for _ in range(away):
        tracks.update(people_at(), clock(next(times)))
    for _ in range(2):
        (seen,) = tracks.update(people_at(10), clock(next(times)))
    assert (seen == one) is known


def test_nobody_is_followed_who_is_unsure_from_the_start():
    see = followed(PersonTracker(RATE, min_track_score=0.3, min_keypoint_score=0.05))
    for left in (8, 10):
        assert see(left, score=0.1) == [None]
    see(12, score=0.5)
    (one,) = see(14, score=0.5)
    assert one is not None
    assert see(16, score=0.1) == [one]


def test_a_video_that_changes_its_size_keeps_its_people():
    tracker = PersonTracker(RATE)
    small = people_at(30, 300)
    large = small._replace(
        keypoints=small.keypoints * np.float32([2, 2, 1]), boxes=2 * small.boxes, size=(1280, 400)
    )
    tracker.update(small, 0.0)
    before = tracker.update(small, 0.1)
    assert None not in before
    assert tracker.update(large, 0.2) == before


def test_guessed_keypoints_anywhere_do_not_confuse_people():
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


def test_people_of_weak_keypoints_alone_have_no_track():
    tracker = PersonTracker(RATE)
    for number in range(3):
        both = people_at(30, 300)
        both.keypoints[1, :, 2] = 0.1
        tracks = tracker.update(both, number / 10)
    assert tracks == [0, None]
