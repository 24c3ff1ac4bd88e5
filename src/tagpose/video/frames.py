"""This file reads the frames of video files and cameras."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import av
import cv2
import numpy as np

from tagpose.data.images import is_camera

TICK: Final = Fraction(1, 90_000)  # of a second, of MPEG's clock: no frames are closer
_CAMERA_RATE: Final = Fraction(30)  # where a camera does not say
_SHORT: Final = 1.0  # seconds that a file may promise more than it has, as sound may be longer


class Frame(NamedTuple):
    """One picture of a video."""

    image: np.ndarray  # [H, W, 3] uint8 RGB, upright
    time: float  # seconds since the start, later than that of the frame before


class Clip:
    """An opened video: its frames, once, and what is known of them before.

    Attributes:
        frames: to be taken once, in their order.
        rate: frames a second, on average.
        count: of the frames, as the file has it; 0 where it does not say.
        left_out: what of it could not be seen so far.
    """

    def __init__(self, frames: Iterator[Frame], rate: Fraction, count: int) -> None:
        self.frames, self.rate, self.count = frames, rate, count
        self.left_out: list[str] = []


def open_clip(named: str) -> AbstractContextManager[Clip]:
    """The frames of a video file, or of the camera of that number."""
    return open_camera(int(named)) if is_camera(named) else open_video(Path(named))


@contextmanager
def open_video(file: Path) -> Iterator[Clip]:
    """The frames of a video file, of any format that FFmpeg knows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing")
    try:
        container = av.open(str(file))
    except av.FFmpegError as error:
        raise ValueError(f"{file} cannot be read as a video ({error.strerror})") from error
    with container:
        if not container.streams.video:
            raise ValueError(f"{file} has no pictures, only {len(container.streams)} other streams")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        clip = Clip(iter(()), stream.average_rate or _CAMERA_RATE, stream.frames)
        clip.frames = _decoded(container, stream, clip)
        yield clip


@contextmanager
def open_camera(number: int) -> Iterator[Clip]:
    """The frames of a camera of this machine, until it stops.

    Raises:
        ValueError: there is no such camera.
    """
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise ValueError(f"camera {number} cannot be opened; is one plugged in, and free?")
        rate = camera.get(cv2.CAP_PROP_FPS)
        fraction = Fraction(rate).limit_denominator(1000) if rate > 0 else _CAMERA_RATE
        yield Clip(_filmed(camera), fraction, 0)
    finally:
        camera.release()


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, clip: Clip
) -> Iterator[Frame]:
    """The frames of a stream; what cannot be decoded is counted, and told at the end."""
    clock, last, broken = Clock(1 / float(clip.rate)), 0.0, 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            clip.left_out.append(f"it cannot be read after {last:.1f} s ({error.strerror})")
            break
        if packet is None:
            break
        try:
            frames = packet.decode()
        except av.FFmpegError:
            broken += 1
            continue
        for frame in frames:
            last = clock.at(frame.time)
            image = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            yield Frame(np.ascontiguousarray(image), last)
    if broken:
        clip.left_out.append(f"{broken} packets could not be decoded")
    promised = (container.duration or 0) / av.time_base
    if promised > last + _SHORT:
        clip.left_out.append(f"it ends after {last:.1f} s of {promised:.1f} s; is it whole?")


class Clock:
    """Times that rise from 0, whatever those of a file do.

    Args:
        between: seconds from a frame to the next, where the file does not say.
    """

    def __init__(self, between: float) -> None:
        self._between, self._last = between, -between
        self._said, self._ahead = math.inf, 0.0

    def at(self, said: float | None) -> float:
        """Seconds of the next frame, of which the file says that or nothing."""
        following = self._last + self._between
        time = following
        if said is not None:
            if said < self._said:  # streams begin later than at 0, or again, as in joined files
                self._ahead = following - said
            self._said = said
            # frames of a clock that stands are counted until it is past them
            if said + self._ahead > self._last + TICK:
                time = said + self._ahead
        self._last = time
        return time


def _filmed(camera: cv2.VideoCapture) -> Iterator[Frame]:
    """What a camera sees, until it sees nothing more; it drops what nobody takes in time."""
    start = monotonic()
    while True:
        there, image = camera.read()
        if not there:
            return
        yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), monotonic() - start)
