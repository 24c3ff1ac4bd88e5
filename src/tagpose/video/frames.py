"""Frames and properties of an open video: sizes, colors, presentation times, conversion to RGB."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace

from tagpose.inference.results import PoseResult
from tagpose.video.audio import AudioTrack

DEFAULT_RATE: Final = Fraction(30)  # frames per second of sources without a rate

_UNSPECIFIED: Final = 2  # in every list of ISO/IEC 23091-2
_BT709, _SMPTE170M = 1, 6
_MAX_SD_SIZE: Final = (1280, 576)  # players assume BT.709 (HD) for larger frames without tags
_MAX_PIXEL_ASPECT: Final = 4  # higher values mean a broken header

TICK: Final = Fraction(1, 90_000)  # seconds; period of the MPEG clock, minimum between frames
# A step back is a restart if it exceeds both limits. Decoders reorder at most 16 frames (H.264,
# A.3.1), and some headers have rates far above the real one.
_REORDERED_FRAMES: Final = 16
_REORDERED_SECONDS: Final = 0.5


class Frame(NamedTuple):
    """One frame of a video."""

    image: np.ndarray  # [H, W, 3] uint8 RGB, upright, with square pixels
    time: float  # seconds since the first frame, strictly increasing
    duration: float | None = None  # seconds; None if unknown


class FrameResult(NamedTuple):
    """Frame of a video with the people in it."""

    number: int  # from 0
    time: float  # seconds since the first frame
    image: np.ndarray  # [H, W, 3] uint8 RGB
    result: PoseResult  # with tracks
    duration: float | None = None  # seconds; None if unknown


class ColorTags(NamedTuple):
    """Primaries and transfer function of a video as code points of ISO/IEC 23091-2."""

    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED


class Video:
    """Open video.

    Args:
        rate: average number of frames per second; None uses 30.
        count: number of frames according to the header; 0 if unknown.
        duration: duration in seconds according to the header; 0 if unknown.
        colors: color tags.
        audio: audio stream to copy; None if there is none or audio was not requested.

    Attributes:
        frames: iterator over the frames, which can be read once.
        notes: differences between the frames and the file, one sentence each.
        problems: parts that could not be read so far, one sentence each.
    """

    def __init__(
        self,
        rate: Fraction | None = None,
        *,
        count: int = 0,
        duration: float = 0.0,
        colors: ColorTags | None = None,
        audio: AudioTrack | None = None,
    ) -> None:
        self.rate, self.audio = rate or DEFAULT_RATE, audio
        self.count, self.duration = count, duration
        self.colors = colors or ColorTags()
        self.frames: Iterator[Frame] = iter(())
        self.notes: list[str] = []
        self.problems: list[str] = []


class FrameConverter:
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


def letterbox(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image [H, W, 3] to a width and height, with black bars that keep the aspect."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = (max(1, round(length * scale)) for length in image.shape[1::-1])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=interpolation
    )
    return canvas


def source_matrix(frame: av.VideoFrame) -> Colorspace | None:
    """Return the matrix for decoding a frame, or None to use the tagged one."""
    untagged = int(frame.colorspace) == _UNSPECIFIED
    return Colorspace.ITU709 if untagged and is_hd(frame.width, frame.height) else None


def tag_encoder_colors(context: av.VideoCodecContext, tags: ColorTags) -> Colorspace:
    """Set the color tags of an encoder.

    Args:
        context: encoder with known width and height.
        tags: tags of the source; unspecified ones are set to those of HD or SD.

    Returns:
        The matrix for converting frames to YUV.
    """
    hd = is_hd(context.width, context.height)
    default = _BT709 if hd else _SMPTE170M
    context.colorspace = default
    context.color_primaries = default if tags.primaries == _UNSPECIFIED else tags.primaries
    context.color_trc = default if tags.transfer == _UNSPECIFIED else tags.transfer
    context.color_range = 1  # limited, as players expect
    return Colorspace.ITU709 if hd else Colorspace.ITU601


def is_hd(width: int, height: int) -> bool:
    """Return whether untagged frames of this size are encoded with BT.709."""
    return width >= _MAX_SD_SIZE[0] or height > _MAX_SD_SIZE[1]


class BestEffortTimestamp:
    """Selection between presentation and decoding times of frames, as in FFmpeg.

    Some containers only store decoding times. PyAV then reports those as presentation times, which
    jump back and forth where the encoder reordered frames (B-frames). The times that decreased
    less often are used, as in FFmpeg's `best_effort_timestamp`, which PyAV does not have.

    Args:
        has_pts: whether the container stores presentation times; AVI does not.
    """

    def __init__(self, *, has_pts: bool) -> None:
        self._faults = [0 if has_pts else 1, 0]  # presentation times, decoding times
        self._latest = [-math.inf, -math.inf]

    def __call__(self, pts: float | None, dts: float | None) -> float | None:
        """Return the time of the next frame in seconds, or None if both times are missing.

        Args:
            pts: presentation time in seconds.
            dts: decoding time in seconds of the packet that completed the frame.
        """
        for kind, time in enumerate((pts, dts)):
            if time is not None:
                self._faults[kind] += time <= self._latest[kind]
                self._latest[kind] = time
        if pts is None or (dts is not None and self._faults[0] > self._faults[1]):
            return dts
        return pts


class PresentationClock:
    """Clock that converts times in the file to strictly increasing times from 0.

    A step back by a few frames is an error of single times, and the clock keeps running. A longer
    one is a restart, as in concatenated files.

    Args:
        interval: seconds between two frames without times.

    Attributes:
        offset: seconds to add to a time in the file since its last restart; None before the first
            frame.
    """

    def __init__(self, interval: float) -> None:
        self._interval, self._last, self._latest = interval, -interval, -math.inf
        self._longest_step_back = max(_REORDERED_FRAMES * interval, _REORDERED_SECONDS)
        self.offset: float | None = None

    def __call__(self, time: float | None) -> float:
        """Return the time of the next frame in seconds.

        Args:
            time: time in the file in seconds, or None.
        """
        following = self._last + self._interval
        presented = following
        if time is not None:
            restarted = time < self._latest - self._longest_step_back
            if self.offset is None or restarted:
                self.offset = following - time
                self._latest = time
            self._latest = max(self._latest, time)
            # Frames with decreasing times advance by the interval until the file's clock
            # catches up.
            if time + self.offset > self._last + TICK:
                presented = time + self.offset
        self._last = presented
        return presented


def ticks_to_seconds(ticks: int | None, frame: av.VideoFrame) -> float | None:
    """Convert ticks of a frame's time base to seconds."""
    if ticks is None or frame.time_base is None:
        return None
    return float(ticks * frame.time_base)
