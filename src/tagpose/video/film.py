"""This file finds people in a video and follows them from frame to frame."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.inference.found import Found
from tagpose.inference.predictor import Predictor
from tagpose.video.frames import Clip, Frame, open_clip
from tagpose.video.recording import Add, recording
from tagpose.video.tracks import Tracks


class Scene(NamedTuple):
    """One frame, and who is in it."""

    number: int  # from 0
    time: float  # seconds since the start
    image: np.ndarray  # [H, W, 3] uint8 RGB
    found: Found  # with tracks


@dataclass(frozen=True)
class Film:
    """How videos are looked at.

    Attributes:
        frames: of a video at most; None for all.
        sure: see `Tracks`.
        patience: see `Tracks`.
    """

    frames: int | None = None
    sure: float = 0.3
    patience: float = 1.0

    def open(self, named: str) -> AbstractContextManager[Clip]:
        """A video file, or a camera by its number; raises what `open_clip` does."""
        return open_clip(named)

    def watch(self, clip: Clip, predictor: Predictor) -> Iterator[Scene]:
        """Who is in each frame of a video."""
        tracks = Tracks(clip.rate, sure=self.sure, patience=self.patience)
        times: dict[int, float] = {}
        frames = islice(clip.frames, self.frames)
        for number, seen in enumerate(predictor.each(_images(frames, times))):
            image, found = seen.known()
            time = times.pop(number)
            found = found._replace(tracks=tuple(tracks.follow(found, time)))
            yield Scene(number, time, image, found)

    def length(self, clip: Clip) -> int | None:
        """Frames that will be seen, where that is known."""
        known = [count for count in (self.frames, clip.count) if count]
        return min(known, default=None)

    def record(self, file: Path, clip: Clip) -> AbstractContextManager[Add]:
        """What writes a video as fast as another; see `recording`."""
        return recording(file, clip.rate)


def _images(frames: Iterable[Frame], times: dict[int, float]) -> Iterator[np.ndarray]:
    """The images of frames; their times are noted by number, as images are read ahead."""
    for number, frame in enumerate(frames):
        times[number] = frame.time
        yield frame.image
