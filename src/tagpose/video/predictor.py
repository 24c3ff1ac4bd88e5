"""Finds people in a video and follows them from frame to frame."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tagpose.inference.predictor import Predictor
from tagpose.video.frames import Frame, Video
from tagpose.video.reader import open_video
from tagpose.video.smoothing import Smoothing, VideoResult
from tagpose.video.tracker import PersonTracker
from tagpose.video.writer import VideoWriter, write_like

_DEFAULT_SMOOTHING = Smoothing()


@dataclass(frozen=True)
class VideoPredictor:
    """Options of prediction on videos.

    Attributes:
        frames: maximum number of frames of a video; None for all.
        sure: see `min_score` of `PersonTracker`.
        min_keypoint_score: see `PersonTracker`.
        patience: see `PersonTracker`.
        smooth: whether keypoints are smoothed over time.
        smoothing: how.
    """

    frames: int | None = None
    sure: float = 0.3
    min_keypoint_score: float = 0.2
    patience: float = 1.0
    smooth: bool = False
    smoothing: Smoothing = _DEFAULT_SMOOTHING

    def open(self, source: str, *, sound: bool = False) -> AbstractContextManager[Video]:
        """Open a video; see `open_video`."""
        return open_video(source, sound=sound)

    def predict(self, video: Video, predictor: Predictor) -> Iterator[VideoResult]:
        """Yield the people of each frame."""
        results = self._track(video, predictor)
        return self.smoothing(results) if self.smooth else results

    def length(self, video: Video) -> int | None:
        """Return the number of frames that will be read, where it is known."""
        known = [count for count in (self.frames, video.count) if count]
        return min(known, default=None)

    def write(self, file: Path, video: Video) -> AbstractContextManager[VideoWriter]:
        """Write a video like another; see `write_like`."""
        return write_like(file, video)

    def _track(self, video: Video, predictor: Predictor) -> Iterator[VideoResult]:
        """Yield the people of each frame with their tracks."""
        tracker = PersonTracker(
            video.rate,
            min_score=self.sure,
            min_keypoint_score=self.min_keypoint_score,
            patience=self.patience,
        )
        waiting: dict[int, Frame] = {}  # images are read ahead
        images = _images(islice(video.frames, self.frames), waiting)
        for number, seen in enumerate(predictor.each(images)):
            image, found = seen.known()
            frame = waiting.pop(number)
            found = found._replace(tracks=tuple(tracker.follow(found, frame.time)))
            yield VideoResult(number, frame.time, image, found, frame.duration)


def _images(frames: Iterator[Frame], waiting: dict[int, Frame]) -> Iterator[np.ndarray]:
    """Yield the images of frames, and note the frames by number."""
    for number, frame in enumerate(frames):
        waiting[number] = frame
        yield frame.image
