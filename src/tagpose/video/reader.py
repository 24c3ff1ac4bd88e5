"""Readers for video files, network streams, cameras and animated images."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any, Final

import av
import cv2
from av.stream import Disposition
from PIL import Image, ImageSequence

from tagpose.data.image_files import is_camera
from tagpose.data.images import IMAGE_ERRORS, to_rgb
from tagpose.video.audio import AudioTrack
from tagpose.video.color_conversion import FrameConverter
from tagpose.video.frames import ColorTags, Frame, Video
from tagpose.video.inputs import is_animated, is_url, redact_password
from tagpose.video.timestamps import BestEffortTimestamp, PresentationClock, ticks_to_seconds

_MIN_FRAME_SECONDS: Final = 0.011
_BROWSER_FRAME_SECONDS: Final = 0.1  # used by browsers for frames with shorter durations
_MAX_DENOMINATOR: Final = 1000  # of a frame rate
_TIMEOUT: Final = (15.0, 30.0)  # seconds for opening a URL, and for each read
# Playlists name other files and addresses, which an uploaded file must not read.
_PLAYLISTS: Final = {"concat", "dash", "hls", "imf", "rtsp", "sdp", "webm_dash_manifest"}
_FILE_OPTIONS: Final = {"format_whitelist": ",".join(sorted(av.formats_available - _PLAYLISTS))}
_DURATION_TOLERANCE: Final = 1.0  # seconds; audio may be longer than the frames


def open_video(source: str, *, audio: bool = False) -> AbstractContextManager[Video]:
    """Open a video file, an animated image (GIF, WebP, PNG, AVIF), a network stream or a camera.

    Args:
        source: path, URL that FFmpeg can open, or camera number.
        audio: whether to read audio packets as well, so that `write_video` can copy them.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the source cannot be opened or has no video stream.
    """
    if is_camera(source):
        return open_camera(int(source))
    if not is_url(source):
        if not Path(source).is_file():
            raise FileNotFoundError(f"{source} is missing; check the path of the video")
        if is_animated(Path(source)):
            return open_animation(Path(source))
    return open_container(source, audio=audio)


@contextmanager
def open_camera(number: int) -> Iterator[Video]:
    """Open a camera of this machine; its frames end when it is disconnected.

    Raises:
        ValueError: the camera cannot be opened.
    """
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise ValueError(
                f"camera {number} cannot be opened; check that it is connected and not in use"
            )
        rate = camera.get(cv2.CAP_PROP_FPS)
        video = Video(Fraction(rate).limit_denominator(_MAX_DENOMINATOR) if rate > 0 else None)
        video.frames = _camera_frames(camera)
        yield video
    finally:
        camera.release()


def _camera_frames(camera: cv2.VideoCapture) -> Iterator[Frame]:
    """Yield frames until the camera is disconnected; it drops frames that are not read in time."""
    start = monotonic()
    while True:
        success, image = camera.read()
        if not success:
            return
        yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), monotonic() - start)


@contextmanager
def open_animation(file: Path) -> Iterator[Video]:
    """Open an animated image; transparent pixels become white.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        opened = Image.open(file)
    except IMAGE_ERRORS as error:
        raise ValueError(
            f"{file} cannot be read as an animated image ({error}); export it again"
        ) from error
    with opened as image:
        count = int(getattr(image, "n_frames", 1))
        rate = 1 / Fraction(_animation_frame_duration(image)).limit_denominator(_MAX_DENOMINATOR)
        video = Video(rate, count=count)
        video.frames = _animation_frames(image, video)
        yield video


def _animation_frames(image: Image.Image, video: Video) -> Iterator[Frame]:
    """Yield the frames with the durations of browsers, up to the first broken frame."""
    time = 0.0
    try:
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if number == 0 and image.info.get("default_image"):
                continue  # fallback of a PNG for programs that do not support animations
            pixels, duration = to_rgb(frame), _animation_frame_duration(frame)
            yield Frame(pixels, time, duration)
            time += duration
    except IMAGE_ERRORS as error:
        video.problems.append(f"the animation cannot be read after {time:.1f} s ({error})")


def _animation_frame_duration(image: Image.Image) -> float:
    """Return the duration of the current frame in seconds."""
    image.load()  # WebP and PNG only have the duration afterwards
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds >= _MIN_FRAME_SECONDS else _BROWSER_FRAME_SECONDS


@contextmanager
def open_container(source: str, *, audio: bool) -> Iterator[Video]:
    """Open a video file or URL in any format that FFmpeg supports; files must not be playlists.

    Args:
        source: path of an existing file, or URL.
        audio: whether to read the audio packets as well.

    Raises:
        ValueError: the source cannot be opened, or has no video stream.
    """
    name, timeout = redact_password(source), _TIMEOUT if is_url(source) else None
    options = {} if is_url(source) else _FILE_OPTIONS
    advice = "check that it is a complete video file"
    try:
        container = av.open(source, timeout=timeout, metadata_errors="replace", options=options)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{name} cannot be read as a video ({reason}); {advice}") from error
    with container:
        stream = best_stream(container)
        if stream is None:
            types = ", ".join(other.type for other in container.streams) or "no"
            raise ValueError(f"{name} cannot be read as a video ({types} streams only); {advice}")
        stream.thread_type = "AUTO"
        audio_stream = container.streams.best("audio", related=stream) if audio else None
        context = stream.codec_context
        video = Video(
            stream.average_rate or stream.guessed_rate,
            count=stream.frames,
            duration=(container.duration or 0) / av.time_base,
            colors=ColorTags(int(context.color_primaries), int(context.color_trc)),
            audio=AudioTrack(audio_stream) if isinstance(audio_stream, av.AudioStream) else None,
        )
        video.frames = _decode_frames(container, stream, video)
        yield video


def best_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the default video stream, otherwise the largest one, or None without any.

    Cover art does not count as a video stream.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]

    def rank(stream: av.VideoStream) -> tuple[bool, int]:
        default = bool(stream.disposition & Disposition.default)
        return default, (stream.codec_context.width or 0) * (stream.codec_context.height or 0)

    return max(streams, key=rank, default=None)


def _decode_frames(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator[Frame]:
    """Yield the frames of a stream with their times, and report a premature end."""
    clock, last = PresentationClock(1 / float(video.rate)), 0.0
    best_effort = BestEffortTimestamp(has_pts=not _is_avi(container))
    convert = FrameConverter(stream, video)
    for frame in _raw_frames(container, stream, video):
        last = clock(best_effort(frame.time, ticks_to_seconds(frame.dts, frame)))
        if video.audio and clock.offset is not None:
            video.audio.start(clock.offset)
        yield Frame(convert(frame, last), last, ticks_to_seconds(frame.duration, frame) or None)
    expected = video.duration
    if _is_avi(container):  # FFmpeg computes the duration from the existing packets
        expected = max(expected, video.count / float(video.rate))
    if expected > last + _DURATION_TOLERANCE + 1 / float(video.rate):
        video.problems.append(
            f"the video ends after {last:.1f} s of {expected:.1f} s; check that it is complete"
        )


def _raw_frames(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator[av.VideoFrame]:
    """Yield the decoded frames of a stream, and report packets that could not be decoded."""
    num_failed = 0
    for packet in _read_packets(container, stream, video):
        if video.audio and _is_avi(container) and packet.dts is not None:
            # Decoding times precede presentation times and audio by the number of reordered frames.
            video.audio.start(-float(packet.dts * packet.time_base))
        try:
            yield from packet.decode()
        except av.FFmpegError:
            num_failed += 1
    if num_failed:
        video.problems.append(f"{num_failed} packets could not be decoded")


def _read_packets(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator["av.Packet[Any]"]:
    """Yield the packets of the video stream and a flush packet; buffer audio packets."""
    streams = [stream, video.audio.stream] if video.audio else [stream]
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            video.problems.append(f"reading stopped before the end ({error.strerror})")
            return
        if packet is None:
            return
        if video.audio and packet.stream is video.audio.stream:
            video.audio.add(packet)
        else:
            yield packet


def _is_avi(container: av.container.InputContainer) -> bool:
    """Return whether the container is AVI, which only stores decoding times."""
    return container.format.name == "avi"
