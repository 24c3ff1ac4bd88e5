"""Reading and writing preserve times, shape and colors of frames, and the audio."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from helpers.sample_videos import TICK, decode, gray_frame, make_video, write_two_streams
from tagpose.video.reader import open_video
from tagpose.video.timestamps import BestEffortTimestamp, PresentationClock
from tagpose.video.writer import write_video, write_video_like

RATE = Fraction(10)
LEVELS = list(range(20, 220, 8))


def read(file):
    """Return the frames of a video, and the video."""
    with open_video(str(file)) as video:
        return list(video.frames), video


def rewrite(file, target):
    """Copy a video with its audio, as in `predict`, and return the source video."""
    with open_video(str(file), audio=True) as video, write_video_like(target, video) as writer:
        for frame in video.frames:
            writer.add(*frame)
    return video


def two_color_frame(left, right, height=48, width=64):
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = left, right
    return image


def check_copy(file, target, times, duration):
    """Check that a copy has the frames of a file, their times and the duration."""
    rewrite(file, target)
    copied_times, images, seconds = decode(target)
    assert copied_times == pytest.approx(np.asarray(times) - times[0], abs=2e-3)
    assert seconds == pytest.approx(duration, abs=0.02)
    levels = [image.mean() for image in images]
    assert levels == pytest.approx(LEVELS[: len(times)], abs=10)
    assert (np.diff(levels) >= 0).all()


@pytest.mark.parametrize(
    ("ending", "codec", "options"),
    [
        ("mp4", "libx264", {"bf": "3"}),
        ("avi", "libx264", {"bf": "3"}),
        ("avi", "mpeg4", {"bf": "2"}),
        ("mkv", "libx264", {"bf": "3"}),
        ("ts", "libx264", {"bf": "3"}),
        ("mpg", "mpeg2video", {"bf": "2"}),
        ("wmv", "wmv2", {}),
        ("webm", "libvpx-vp9", {}),
        ("h264", "libx264", {"bf": "3"}),
    ],
)
def test_frames_keep_their_order_times_and_duration_in_every_container(
    tmp_path, ending, codec, options
):
    images = [gray_frame(level) for level in LEVELS]
    file = make_video(tmp_path / f"a.{ending}", images, rate=25, codec=codec, options=options)
    check_copy(file, tmp_path / "b.mp4", np.arange(len(LEVELS)) / 25, len(LEVELS) / 25)
    assert read(file)[1].problems == []


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("kind", ["variable rate", "jitter", "long pause"])
def test_irregular_times_are_preserved(tmp_path, ending, kind):
    rng, count = np.random.default_rng(0), len(LEVELS)
    steps = {
        "variable rate": rng.uniform(0.005, 0.3, count),
        "jitter": 1 / 30 + rng.uniform(-0.004, 0.004, count),
        "long pause": np.where(np.arange(count) == 9, 20.0, 0.04),
    }[kind]
    times = np.cumsum(steps)
    images = [gray_frame(level) for level in LEVELS]
    file = make_video(tmp_path / f"a.{ending}", images, times, rate=30, time_base=TICK)
    with open_video(str(file)) as video:
        last = list(video.frames)[-1].duration
    check_copy(file, tmp_path / "b.mp4", times, times[-1] - times[0] + last)


def test_frames_closer_than_the_frame_interval_keep_their_times(tmp_path):
    times = [0, 0.001, 0.0013, 0.5]
    with write_video(tmp_path / "a.mp4", RATE) as writer:
        for level, time in zip(LEVELS, times, strict=False):
            writer.add(gray_frame(level), time, 2.0)
    decoded_times, _, duration = decode(tmp_path / "a.mp4")
    assert decoded_times == pytest.approx(times, abs=1e-4)
    assert duration == pytest.approx(2.5, abs=1e-3)


@pytest.mark.parametrize("lengths", [(5, 3), (1, 1), (2, 3, 4)])
def test_a_restarted_clock_continues_after_one_frame_interval(tmp_path, lengths):
    parts = [
        make_video(tmp_path / f"{n}.ts", length * [gray_frame(90)])
        for n, length in enumerate(lengths)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, video = read(joined)
    times = np.arange(sum(lengths)) / float(video.rate)
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize(
    ("file_times", "times"),
    [
        ([1.4, 1.5, 1.9], [0, 0.1, 0.5]),
        ([5, 5.1, 5.1, 5.2, 5.5], [0, 0.1, 0.2, 0.3, 0.5]),
        ([0, 0, 0, 0.4, 0.5], [0, 0.1, 0.2, 0.4, 0.5]),
        ([600.0, 600.1, 599.9, 600.0], [0, 0.1, 0.2, 0.3]),
        ([None, 1.4, None, 1.6], [0, 0.1, 0.2, 0.3]),
        ([0, 0.3, 0.1, 0.2, 0.6, 0.4, 0.5, 0.9], [0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ([9.0, 9.1, 2.0, 2.3], [0, 0.1, 0.2, 0.5]),
    ],
)
def test_times_increase_from_zero_and_equal_those_of_the_file_if_they_increase(file_times, times):
    clock = PresentationClock(0.1)
    assert [clock(time) for time in file_times] == pytest.approx(times)


def test_decoding_times_are_used_if_presentation_times_decrease():
    best_effort = BestEffortTimestamp(has_pts=True)
    pts, dts = [1, 4, 3, 5, 2, 8, 7, 9], [2, 3, 4, 5, 6, 7, 8, 9]
    assert list(map(best_effort, pts, dts)) == [1, 4, 4, 5, 6, 7, 8, 9]
    assert BestEffortTimestamp(has_pts=False)(1, 2) == 2
    assert BestEffortTimestamp(has_pts=False)(1, None) == 1


@pytest.mark.parametrize(
    ("degrees", "shape", "bright"),
    [(0, (48, 64), 0), (90, (64, 48), 2), (180, (48, 64), 3), (270, (64, 48), 1)],
)
def test_rotated_videos_are_read_upright(tmp_path, degrees, shape, bright):
    image = gray_frame(30)
    image[:24, :32] = 220  # upper left quarter, which a rotation to the left moves down
    file = make_video(
        tmp_path / "a.mp4", [image], prepare=lambda s: s.set_display_rotation(degrees)
    )
    rewrite(file, tmp_path / "b.mp4")
    for pixels in (read(file)[0][0].image, decode(tmp_path / "b.mp4")[1][0]):
        assert pixels.shape[:2] == shape
        rows, columns = shape[0] // 2, shape[1] // 2
        quarters = [pixels[r : r + rows, c : c + columns] for r in (0, rows) for c in (0, columns)]
        assert int(np.argmax([quarter.mean() for quarter in quarters])) == bright


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9), Fraction(16, 11)])
def test_frames_have_the_display_aspect_ratio(tmp_path, aspect):
    def prepare(stream):
        stream.codec_context.sample_aspect_ratio = aspect

    file = make_video(tmp_path / "a.mp4", [two_color_frame(40, 200, 96, 132)] * 3, prepare=prepare)
    video = rewrite(file, tmp_path / "b.mp4")
    assert f"{aspect.numerator}:{aspect.denominator}" in video.notes[0]
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        written = (stream.sample_aspect_ratio or 1) * Fraction(stream.width, stream.height)
    assert float(written) == pytest.approx(float(aspect * 132 / 96), rel=0.01)


@pytest.mark.parametrize("larger", [False, True])
def test_a_frame_of_a_different_size_is_letterboxed(tmp_path, larger):
    sizes = {"height": 96, "width": 96} if larger else {"height": 32, "width": 24}
    with write_video(tmp_path / "a.mp4", RATE) as writer:
        writer.add(gray_frame(120), 0.0)
        writer.add(gray_frame(220, **sizes), 0.1)
    _, images, _ = decode(tmp_path / "a.mp4")
    assert [image.shape for image in images] == 2 * [(48, 64, 3)]
    bright = images[1].mean(2) > 128
    height, width = bright.any(1).sum(), bright.any(0).sum()
    assert height == 48
    assert width == pytest.approx(48 * sizes["width"] / sizes["height"], abs=2)
    assert "1 frames of a different size are letterboxed to 64 x 48" in writer.notes[0]


def test_a_change_of_size_in_a_file_is_preserved_and_noted(tmp_path):
    parts = [
        make_video(tmp_path / "a.ts", [gray_frame(90)] * 4),
        make_video(tmp_path / "b.ts", [gray_frame(90, 96, 64)] * 4),
    ]
    (tmp_path / "c.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, video = read(tmp_path / "c.ts")
    assert {frame.image.shape for frame in frames} == {(48, 64, 3), (96, 64, 3)}
    assert video.notes == ["the frame size changes from 64 x 48 to 64 x 96 pixels after 0.4 s"]


@pytest.mark.parametrize(("default", "shape"), [(None, (96, 128)), (0, (48, 64)), (1, (96, 128))])
def test_the_default_video_stream_is_read_or_else_the_largest(tmp_path, default, shape):
    small, large = gray_frame(50), gray_frame(50, 96, 128)
    file = write_two_streams(tmp_path / "a.mkv", small, large, default)
    assert read(file)[0][0].image.shape[:2] == shape


RED, BLUE = (200, 40, 60), (30, 60, 190)


@pytest.mark.parametrize(
    ("size", "tags"), [((720, 1280), (1, 1, 1)), ((480, 640), (6, 6, 6))], ids=["HD", "SD"]
)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuvj420p"])
def test_colors_are_preserved_and_tagged(tmp_path, size, tags, pix_fmt):
    image = two_color_frame(RED, BLUE, *size)
    with write_video(tmp_path / "a.mp4", RATE) as writer:
        writer.add(image, 0.0)
    frames, _ = read(tmp_path / "a.mp4")
    codec = "mjpeg" if pix_fmt == "yuvj420p" else "libx264"
    options = {"qmin": "1"} if codec == "mjpeg" else {}
    if size[0] == 480:  # PyAV encodes with BT.601
        other = make_video(
            tmp_path / "b.mov", [image], codec=codec, pix_fmt=pix_fmt, options=options
        )
        rewrite(other, tmp_path / "c.mp4")
        frames += read(other)[0] + read(tmp_path / "c.mp4")[0]
    for frame in frames:
        assert frame.image[:, 10:40].mean((0, 1)) == pytest.approx(RED, abs=6)
        assert frame.image[:, -40:-10].mean((0, 1)) == pytest.approx(BLUE, abs=6)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == tags


def test_untagged_hd_is_decoded_as_bt709(tmp_path):
    def encode(tagged):
        file = tmp_path / f"{tagged}.mp4"
        with av.open(str(file), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
            if tagged:
                stream.codec_context.colorspace = 1
            frame = av.VideoFrame.from_ndarray(
                two_color_frame(RED, BLUE, 720, 1280), format="rgb24"
            )
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.colorspace, frame.pts = 1 if tagged else 2, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return read(file)[0][0].image

    assert np.abs(encode(True).astype(int) - encode(False)).max() <= 2


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "aac"), ("avi", "mp3"), ("mov", "pcm_s16le")]
)
def test_audio_is_copied_without_encoding_and_ends_with_the_frames(tmp_path, ending, codec):
    images = [gray_frame(level) for level in LEVELS]
    file = make_video(tmp_path / f"a.{ending}", images, options={"bf": "3"}, audio_codec=codec)
    video = rewrite(file, tmp_path / "b.mp4")
    assert video.notes == []
    with av.open(str(tmp_path / "b.mp4")) as new, av.open(str(file)) as old:
        streams = new.streams.audio[0], old.streams.audio[0]
        names = {stream.codec_context.name for stream in streams}
        assert len(names) == 1
        packets = [
            [bytes(packet) for packet in container.demux(audio=0) if packet.size]
            for container in (new, old)
        ]
        assert packets[0] == packets[1][: len(packets[0])]
        assert float(streams[0].start_time * streams[0].time_base) == pytest.approx(0, abs=0.03)
        assert new.streams.video[0].start_time == 0
        assert float(streams[0].duration * streams[0].time_base) == pytest.approx(2.5, abs=0.15)


def test_audio_stays_synchronized_if_the_clock_does_not_start_at_zero(tmp_path):
    times = 5 + np.arange(len(LEVELS)) / 10
    images = [gray_frame(level) for level in LEVELS]
    file = make_video(
        tmp_path / "a.mkv", images, times, time_base=TICK, audio_codec="aac", duration=8.0
    )
    rewrite(file, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        for stream in container.streams:
            assert float(stream.duration * stream.time_base) == pytest.approx(2.5, abs=0.1)


def test_audio_with_an_unsupported_codec_is_dropped_with_a_note(tmp_path):
    images = [gray_frame(level) for level in LEVELS]
    file = make_video(tmp_path / "a.avi", images, codec="mpeg4", audio_codec="adpcm_ms")
    video = rewrite(file, tmp_path / "b.mp4")
    assert video.notes == ["the audio is dropped because MP4 does not support adpcm_ms"]
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_odd_widths_and_heights_are_padded_by_one(tmp_path):
    with write_video(tmp_path / "a.mp4", RATE) as writer:
        writer.add(gray_frame(50, 47, 63), 0.0)
    assert decode(tmp_path / "a.mp4")[1][0].shape == (48, 64, 3)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "apng", "avif"])
def test_an_animated_image_is_a_video_with_the_times_of_its_frames(tmp_path, ending):
    file, durations = tmp_path / f"a.{ending}", [100, 300, 50, 200]
    levels = (20, 90, 160, 230)
    first, *others = [Image.fromarray(two_color_frame(level, 255 - level)) for level in levels]
    first.save(file, save_all=True, append_images=others, duration=durations, loop=0)
    frames, _ = read(file)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.4, 0.45], abs=2e-3)
    assert [f.image[:, :20].mean() for f in frames] == pytest.approx(levels, abs=6)
    rewrite(file, tmp_path / "b.mp4")
    assert decode(tmp_path / "b.mp4")[2] == pytest.approx(0.65, abs=0.01)


def noise_frames():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)]


def test_packets_that_cannot_be_decoded_are_reported_and_skipped(tmp_path):
    content = bytearray(make_video(tmp_path / "a.mp4", noise_frames()).read_bytes())
    middle = slice(len(content) // 2, len(content) * 3 // 4)
    content[middle] = bytes(len(content[middle]))
    (tmp_path / "a.mp4").write_bytes(content)
    frames, video = read(tmp_path / "a.mp4")
    assert 0 < len(frames) < 40
    assert "could not be decoded" in video.problems[0]


@pytest.mark.parametrize("ending", ["mkv", "avi"])
def test_a_truncated_video_is_reported(tmp_path, ending):
    content = make_video(tmp_path / f"a.{ending}", noise_frames()).read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(content[: len(content) // 2])
    frames, video = read(tmp_path / f"a.{ending}")
    assert 0 < len(frames) < 40
    assert video.problems[-1].endswith("s of 4.0 s; check that it is complete")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"text", r"a\.mp4 cannot be read as a video"),
        ("a.mp4", b"", r"a\.mp4 cannot be read as a video"),
        ("b.mp4", None, r"b\.mp4 is missing"),
        ("77", None, "camera 77 cannot be opened"),
        ("rtsp://me:secret@127.0.0.1:9/x", None, r"^rtsp://127\.0\.0\.1:9/x cannot be read"),
    ],
)
def test_a_source_that_is_not_a_video_is_an_error(tmp_path, name, content, message):
    source = str(tmp_path / name) if name.endswith("mp4") else name
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message), open_video(source):
        pass


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mp4", "ffconcat version 1.0\nfile other.mp4\n"),
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:4.0,\nother.mp4\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_playlist_of_other_files_is_refused(tmp_path, name, content):
    make_video(tmp_path / "other.mp4", [gray_frame(90)] * 3)
    (tmp_path / name).write_text(content)
    with (
        pytest.raises(ValueError, match=f"{name} cannot be read as a video"),
        open_video(str(tmp_path / name)),
    ):
        pass


def test_a_truncated_mp4_and_a_file_without_video_stream_are_errors(tmp_path):
    content = make_video(tmp_path / "a.mp4", noise_frames()).read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with (
        pytest.raises(ValueError, match="check that it is a complete video"),
        open_video(str(tmp_path / "a.mp4")),
    ):
        pass
    with av.open(str(tmp_path / "b.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with (
        pytest.raises(ValueError, match="audio streams only"),
        open_video(str(tmp_path / "b.mp4")),
    ):
        pass


def test_a_writer_that_fails_or_gets_no_frames_leaves_no_file(tmp_path):
    with (
        pytest.raises(ValueError, match="could not be"),
        write_video(tmp_path / "a.mp4", RATE) as writer,
    ):
        writer.add(gray_frame(5)[..., 0], 0.0)
    with (
        pytest.raises(ValueError, match="no frame could be read"),
        write_video(tmp_path / "a.mp4", RATE),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
