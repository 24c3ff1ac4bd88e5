"""Frames of video files and network streams, decoded by FFmpeg through PyAV."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from av.stream import Disposition

from tagpose.video.audio import AudioTrack
from tagpose.video.color_space import ColorTags, source_matrix
from tagpose.video.frames import Frame, Video
from tagpose.video.inputs import is_url, redact_password
from tagpose.video.timestamps import BestEffortTimestamp, PresentationClock

_TIMEOUT: Final = (15.0, 30.0)  # seconds for opening a URL, and for each read
_DURATION_TOLERANCE: Final = 1.0  # seconds; audio may be longer than the frames
_MAX_PIXEL_ASPECT: Final = 4  # higher values mean a broken header


@contextmanager
def open_container(source: str, *, audio: bool) -> Iterator[Video]:
    """Open a video file or URL in any format that FFmpeg supports.

    Args:
        source: path of an existing file, or URL.
        audio: whether to read the audio packets as well.

    Raises:
        ValueError: the source cannot be opened, or has no video stream.
    """
    name, timeout = redact_password(source), _TIMEOUT if is_url(source) else None
    advice = "check that it is a complete video file"
    try:
        container = av.open(source, timeout=timeout, metadata_errors="replace")
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
            colors=ColorTags(int(context.color_primaries), int(context.color_trc)),
            audio=AudioTrack(audio_stream) if isinstance(audio_stream, av.AudioStream) else None,
        )
        video.frames = _decode_frames(container, stream, video)
        yield video


def best_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the default video stream, or the largest of several; None if there is none.

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
    convert = _FrameConverter(stream, video)
    for frame in _raw_frames(container, stream, video):
        last = clock(best_effort(frame.time, _to_seconds(frame.dts, frame)))
        if video.audio and clock.offset is not None:
            video.audio.start(clock.offset)
        yield Frame(convert(frame, last), last, _to_seconds(frame.duration, frame) or None)
    expected = (container.duration or 0) / av.time_base
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


class _FrameConverter:
    """Converter from decoded frames to upright RGB images with square pixels."""

    def __init__(self, stream: av.VideoStream, video: Video) -> None:
        aspect = stream.sample_aspect_ratio or Fraction(1)
        usable = 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT
        self._aspect = aspect if usable else Fraction(1)
        self._size: tuple[int, int] | None = None
        self._notes = video.notes

    def __call__(self, frame: av.VideoFrame, time: float) -> np.ndarray:
        """Return the image [H, W, 3] uint8 RGB of a frame."""
        width, height = round(frame.width * self._aspect), frame.height
        pixels = frame.to_ndarray(
            format="rgb24", width=width, height=height, src_colorspace=source_matrix(frame)
        )
        image = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
        self._add_notes(frame, image, time)
        return image

    def _add_notes(self, frame: av.VideoFrame, image: np.ndarray, time: float) -> None:
        """Note non-square pixels, once, and every change of size."""
        size = image.shape[1], image.shape[0]
        if self._size is None and self._aspect != 1:
            self._notes.append(
                f"the pixel aspect ratio is {self._aspect.numerator}:{self._aspect.denominator}; "
                f"frames of {frame.width} x {frame.height} are resized to {size[0]} x {size[1]}"
            )
        if self._size is not None and size != self._size:
            self._notes.append(
                f"the frame size changes from {self._size[0]} x {self._size[1]} to {size[0]} x "
                f"{size[1]} pixels after {time:.1f} s"
            )
        self._size = size


def _is_avi(container: av.container.InputContainer) -> bool:
    """Return whether the container is AVI, which only stores decoding times."""
    return container.format.name == "avi"


def _to_seconds(ticks: int | None, frame: av.VideoFrame) -> float | None:
    """Convert ticks of a frame's time base to seconds."""
    if ticks is None or frame.time_base is None:
        return None
    return float(ticks * frame.time_base)
