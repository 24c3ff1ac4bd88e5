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

_TIMEOUT: Final = (15.0, 30.0)  # seconds to open an address, and to wait for its next packet
_DURATION_TOLERANCE: Final = (
    1.0  # seconds that a header may exceed the frames, as audio may be longer
)
_MAX_PIXEL_ASPECT: Final = 4  # more is a broken header


@contextmanager
def open_container(source: str, *, audio: bool) -> Iterator[Video]:
    """Open a video file of any format, or an address, that FFmpeg can open.

    Args:
        source: an existing file, or an address.
        audio: whether the audio packets are read as well.

    Raises:
        ValueError: it cannot be opened, or has no video.
    """
    name, timeout = redact_password(source), _TIMEOUT if is_url(source) else None
    try:
        container = av.open(source, timeout=timeout, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"{name} cannot be read as a video ({reason}); is it complete, and a video?"
        ) from error
    with container:
        stream = best_stream(container)
        if stream is None:
            kinds = ", ".join(one.type for one in container.streams) or "nothing"
            raise ValueError(
                f"{name} cannot be read as a video (it has {kinds}); is it complete, and a video?"
            )
        stream.thread_type = "AUTO"
        audio_stream = container.streams.best("audio", related=stream) if audio else None
        context = stream.codec_context
        video = Video(
            stream.average_rate or stream.guessed_rate,
            count=stream.frames,
            colors=ColorTags(int(context.color_primaries), int(context.color_trc)),
            audio=AudioTrack(audio_stream) if isinstance(audio_stream, av.AudioStream) else None,
        )
        video.frames = _decoded(container, stream, video)
        yield video


def best_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the default video stream, of several the largest; None without any.

    Cover pictures are none.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]

    def rank(stream: av.VideoStream) -> tuple[bool, int]:
        default = bool(stream.disposition & Disposition.default)
        return default, (stream.codec_context.width or 0) * (stream.codec_context.height or 0)

    return max(streams, key=rank, default=None)


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator[Frame]:
    """Yield the frames of a stream at their times; report what is missing at the end."""
    clock, last = PresentationClock(1 / float(video.rate)), 0.0
    choose, convert = BestEffortTimestamp(has_pts=not _is_avi(container)), _Converter(stream, video)
    for frame in _raw_frames(container, stream, video):
        last = clock(choose(frame.time, _seconds(frame.dts, frame)))
        if video.audio and clock.offset is not None:
            video.audio.start(clock.offset)
        yield Frame(convert(frame, last), last, _seconds(frame.duration, frame) or None)
    promised = (container.duration or 0) / av.time_base
    if _is_avi(container):  # the duration is that of the packets that are there
        promised = max(promised, video.count / float(video.rate))
    if promised > last + _DURATION_TOLERANCE + 1 / float(video.rate):
        video.problems.append(f"it ends after {last:.1f} s of {promised:.1f} s; is it complete?")


def _raw_frames(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator[av.VideoFrame]:
    """Yield the frames of a stream as they are decoded; report how many packets could not be."""
    broken = 0
    for packet in _packets(container, stream, video):
        if video.audio and _is_avi(container) and packet.dts is not None:
            # decoding times run ahead of those of the audio by the frames that are reordered
            video.audio.start(-float(packet.dts * packet.time_base))
        try:
            yield from packet.decode()
        except av.FFmpegError:
            broken += 1
    if broken:
        video.problems.append(f"{broken} packets could not be decoded")


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator["av.Packet[Any]"]:
    """Yield the packets of the video stream, the last to flush the decoder; keep those of sound."""
    streams = [stream, video.audio.stream] if video.audio else [stream]
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            video.problems.append(f"reading stopped before its end ({error.strerror})")
            return
        if packet is None:
            return
        if video.audio and packet.stream is video.audio.stream:
            video.audio.add(packet)
        else:
            yield packet


class _Converter:
    """Decoded frames to upright RGB images of square pixels; changes are noted once."""

    def __init__(self, stream: av.VideoStream, video: Video) -> None:
        aspect = stream.sample_aspect_ratio or Fraction(1)
        usable = 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT
        self._aspect = aspect if usable else Fraction(1)
        self._size: tuple[int, int] | None = None
        self._notes = video.notes

    def __call__(self, frame: av.VideoFrame, time: float) -> np.ndarray:
        """Return the image [H, W, 3] of a frame."""
        width, height = round(frame.width * self._aspect), frame.height
        pixels = frame.to_ndarray(
            format="rgb24", width=width, height=height, src_colorspace=source_matrix(frame)
        )
        image = np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))
        self._note(frame, image, time)
        return image

    def _note(self, frame: av.VideoFrame, image: np.ndarray, time: float) -> None:
        """Note pixels that are not square, and a change of size."""
        size = image.shape[1], image.shape[0]
        if self._size is None and self._aspect != 1:
            self._notes.append(
                f"its pixels are {self._aspect.numerator}:{self._aspect.denominator}, so its "
                f"frames of {frame.width} x {frame.height} are read as {size[0]} x {size[1]}"
            )
        if self._size is not None and size != self._size:
            self._notes.append(
                f"its frames change from {self._size[0]} x {self._size[1]} to {size[0]} x "
                f"{size[1]} pixels after {time:.1f} s"
            )
        self._size = size


def _is_avi(container: av.container.InputContainer) -> bool:
    """Return whether a container stores decoding times alone."""
    return container.format.name == "avi"


def _seconds(ticks: int | None, frame: av.VideoFrame) -> float | None:
    """Return a number of ticks of a frame's time base in seconds."""
    if ticks is None or frame.time_base is None:
        return None
    return float(ticks * frame.time_base)
