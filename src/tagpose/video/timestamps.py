"""Presentation times of decoded frames, made to start at 0 and to rise."""

import math
from fractions import Fraction
from typing import Final

TICK: Final = Fraction(1, 90_000)  # seconds; MPEG's clock, no two frames are closer
# A longer step back is a restart. Decoders hold back 16 frames at most (H.264, A.3.1), and some
# headers have rates far above the real one.
_REORDERED_FRAMES: Final = 16
_REORDERED_SECONDS: Final = 0.5


class BestEffortTimestamp:
    """Choice between the presentation and the decoding times of frames, as in FFmpeg.

    Some containers only store decoding times. PyAV then reports those as presentation times, which
    jump back and forth where the encoder reordered frames (B-frames). The kind of time that failed
    to rise less often is used, as by `best_effort_timestamp` of FFmpeg, which PyAV lacks.

    Args:
        has_pts: whether the container stores presentation times at all; AVI does not.
    """

    def __init__(self, *, has_pts: bool) -> None:
        self._faults = [0 if has_pts else 1, 0]  # of presentation times, of decoding times
        self._latest = [-math.inf, -math.inf]

    def __call__(self, pts: float | None, dts: float | None) -> float | None:
        """Return the time of the next frame in seconds, None where it has neither.

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
    """Times that rise from 0, whatever the times in the file do.

    A step back by a few frames is a fault of single times, and the clock keeps running. A longer
    one is a restart, as in concatenated files.

    Args:
        interval: seconds between two frames where the file has no times.

    Attributes:
        offset: seconds to add to a time in the file since its last restart; None before the first.
    """

    def __init__(self, interval: float) -> None:
        self._interval, self._last, self._latest = interval, -interval, -math.inf
        self._longest_step_back = max(_REORDERED_FRAMES * interval, _REORDERED_SECONDS)
        self.offset: float | None = None

    def __call__(self, time: float | None) -> float:
        """Return the time of the next frame in seconds.

        Args:
            time: seconds in the file, None where it has none.
        """
        following = self._last + self._interval
        presented = following
        if time is not None:
            restarted = time < self._latest - self._longest_step_back
            if self.offset is None or restarted:
                self.offset = following - time
                self._latest = time
            self._latest = max(self._latest, time)
            # frames whose times do not rise are counted until the file's clock has passed them
            if time + self.offset > self._last + TICK:
                presented = time + self.offset
        self._last = presented
        return presented
