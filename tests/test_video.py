"""Videos: frames come back as they were written, and people keep their numbers."""

import struct
from fractions import Fraction
from itertools import count

import numpy as np
import pytest

from tagpose.inference.found import found
from tagpose.official_skeletons import BODY
from tagpose.structures import People
from tagpose.video.frames import Clock, open_clip
from tagpose.video.recording import recording
from tagpose.video.tracks import Tracks

RATE = Fraction(10)


def grey(level, height=48, width=64):
    """A frame of one colour, which compression hardly changes."""
    return np.full((height, width, 3), level, np.uint8)


def write(file, levels, **size):
    with recording(file, RATE) as add:
        for number, level in enumerate(levels):
            add(grey(level, **size), number / 10)
    return file


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_frames_come_back_in_their_order_at_their_times(tmp_path, ending):
    levels = [20, 90, 160, 230, 60]
    with open_clip(str(write(tmp_path / f"a.{ending}", levels))) as clip:
        frames = list(clip.frames)
        assert float(clip.rate) == pytest.approx(10, abs=0.01)
        assert clip.left_out == []
    assert [frame.image.mean() for frame in frames] == pytest.approx(levels, abs=3)
    assert [frame.time for frame in frames] == pytest.approx(np.arange(5) / 10, abs=1e-3)


@pytest.mark.parametrize("lengths", [(5, 3), (1, 1), (2, 3, 4)])
def test_a_clock_that_stands_or_starts_again_counts_a_frame_and_goes_on(tmp_path, lengths):
    parts = [write(tmp_path / f"{part}.ts", [90] * many) for part, many in enumerate(lengths)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_clip(str(joined)) as clip, recording(tmp_path / "again.mp4", clip.rate) as add:
        for frame in clip.frames:
            add(*frame)
        between = float(1 / clip.rate)
    with open_clip(str(tmp_path / "again.mp4")) as clip:
        times = [frame.time for frame in clip.frames]
    assert times == pytest.approx(np.arange(sum(lengths)) * between, abs=1e-3)


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ([1.4, 1.5, 1.9], [0, 0.1, 0.5]),
        ([5, 5.1, 5.1, 5.2, 5.5], [0, 0.1, 0.2, 0.3, 0.5]),
        ([0, 0, 0, 0.4, 0.5], [0, 0.1, 0.2, 0.4, 0.5]),
        ([600.0, 600.1, 599.9, 600.0], [0, 0.1, 0.2, 0.3]),
        ([None, 1.4, None, 1.6], [0, 0.1, 0.2, 0.3]),
    ],
)
def test_times_rise_from_zero_and_are_the_clocks_own_where_it_goes_on(said, times):
    clock = Clock(0.1)
    assert [clock.at(one) for one in said] == pytest.approx(times)


def test_odd_sides_grow_by_one(tmp_path):
    with open_clip(str(write(tmp_path / "a.mp4", [50, 60], height=47, width=63))) as clip:
        assert {frame.image.shape for frame in clip.frames} == {(48, 64, 3)}


def test_a_video_that_was_filmed_lying_is_seen_upright(tmp_path):
    file = tmp_path / "a.mp4"
    with recording(file, RATE) as add:
        add(np.concatenate([grey(20, width=32), grey(220, width=32)], 1), 0.0)
    content = file.read_bytes()
    at = content.index(b"tkhd") + 44  # the matrix of a track header (ISO 14496-12)
    one, clockwise = struct.pack(">i", 1 << 16), struct.pack(">5i", 0, 1 << 16, 0, -(1 << 16), 0)
    assert content[at : at + 4] == one
    file.write_bytes(content[:at] + clockwise + content[at + 20 :])
    with open_clip(str(file)) as clip:
        image = next(clip.frames).image
    assert image.shape == (64, 48, 3)
    assert image[:30].mean() < 30 < 210 < image[34:].mean()  # what was left is above


def noise(file):
    rng = np.random.default_rng(0)
    with recording(file, RATE) as add:
        for number in range(40):
            add(rng.integers(0, 255, (48, 64, 3), np.uint8), number / 10)
    return bytearray(file.read_bytes())


def test_what_cannot_be_decoded_is_told_and_the_rest_is_seen(tmp_path):
    content = noise(tmp_path / "a.mp4")
    middle = slice(len(content) // 2, len(content) * 3 // 4)
    content[middle] = bytes(len(content[middle]))
    (tmp_path / "a.mp4").write_bytes(content)
    with open_clip(str(tmp_path / "a.mp4")) as clip:
        assert 0 < len(list(clip.frames)) < 40
        assert "could not be decoded" in clip.left_out[0]


def test_a_video_that_is_cut_off_is_told(tmp_path):
    content = noise(tmp_path / "a.mkv")
    (tmp_path / "a.mkv").write_bytes(content[: len(content) // 2])
    with open_clip(str(tmp_path / "a.mkv")) as clip:
        assert 0 < len(list(clip.frames)) < 40
        assert clip.left_out[-1].endswith("s of 4.0 s; is it whole?")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.mp4", b"text", r"a\.mp4 cannot be read as a video"),
        ("b.mp4", None, r"b\.mp4 is missing"),
        ("77", None, "camera 77 cannot be opened"),
    ],
)
def test_what_is_no_video_is_one_sentence(tmp_path, name, content, says):
    named = name if name == "77" else str(tmp_path / name)
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=says), open_clip(named):
        pass


def test_a_recording_that_fails_leaves_no_file(tmp_path):
    with (
        pytest.raises(ValueError, match="could not be"),
        recording(tmp_path / "a.mp4", RATE) as add,
    ):
        add(grey(5)[..., 0], 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_of_nothing_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="no frame that could be seen"),
        recording(tmp_path / "a.mp4", RATE),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def people_at(*left, score=0.8):
    """People of 40 x 100 pixels whose boxes begin there."""
    keypoints = np.full((len(left), BODY.size, 3), score, np.float32)
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 1, (BODY.size, 2)) * (40, 100)
    keypoints[..., :2] = shape + np.array(left, np.float32).reshape(-1, 1, 1) * (1, 0)
    scores = np.full(len(left), score, np.float32)
    return found(People(keypoints, scores), (640, 200), BODY)


def followed(tracks):
    """Follows people from frame to frame."""
    times = (float(number / RATE) for number in count())
    return lambda *left, score=0.8: tracks.follow(people_at(*left, score=score), next(times))


def test_people_keep_their_numbers_whatever_their_order_and_after_a_moment_out_of_sight():
    see = followed(Tracks(RATE, patience=1.0))
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
    tracks = Tracks(RATE, patience=1.0)  # it says RATE, and shows 4 a second
    times = (0.25 * number for number in count())
    for _ in range(4):
        (one,) = tracks.follow(people_at(10), next(times))
    for _ in range(int(away / 0.25)):
        tracks.follow(people_at(), next(times))
    for _ in range(2):
        (again,) = tracks.follow(people_at(10), next(times))
    assert (again == one) is known


@pytest.mark.parametrize(("away", "known"), [(5, True), (20, False)])
@pytest.mark.parametrize("again", [0.0, 599.9, 600.0])
def test_patience_goes_on_where_a_clock_stands_or_starts_again(again, away, known):
    tracks, clock = Tracks(RATE, patience=1.0), Clock(float(1 / RATE))
    times = (float(again + number / RATE) for number in count())
    for time in (599.8, 599.9, 600.0, next(times)):
        (one,) = tracks.follow(people_at(10), clock.at(time))
    assert one is not None
    for _ in range(away):
        tracks.follow(people_at(), clock.at(next(times)))
    for _ in range(2):
        (seen,) = tracks.follow(people_at(10), clock.at(next(times)))
    assert (seen == one) is known


def test_nobody_is_followed_who_is_unsure_from_the_start():
    see = followed(Tracks(RATE, sure=0.3))
    for left in (8, 10):
        assert see(left, score=0.1) == [None]
    see(12, score=0.5)
    (one,) = see(14, score=0.5)
    assert one is not None
    assert see(16, score=0.1) == [one]
