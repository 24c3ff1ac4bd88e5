"""Presentation times of video frames."""

import math
from fractions import Fraction
from typing import Final

import av

TICK: Final = Fraction(1, 90_000)  # seconds; period of the MPEG clock, minimum between frames
# A step back is a restart if it exceeds both limits. Decoders reorder at most 16 frames (H.264,
# A.3.1), and some headers have rates far above the real one.
_REORDERED_FRAMES: Final = 16
_REORDERED_SECONDS: Final = 0.5


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
