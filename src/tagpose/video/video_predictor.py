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
from tagpose.video.smoothing import FrameResult, KeypointSmoother
from tagpose.video.tracker import PersonTracker
from tagpose.video.writer import VideoWriter, write_video_like

_DEFAULT_SMOOTHING = KeypointSmoother()


@dataclass(frozen=True)
class VideoPredictor:
    """Options of prediction on videos.

    Attributes:
        max_frames: maximum number of frames of a video; None for all.
        min_track_score: see `min_track_score` of `PersonTracker`.
        min_keypoint_score: see `PersonTracker`.
        max_lost_seconds: see `PersonTracker`.
        smooth: whether keypoints are smoothed over time.
        smoothing: how.
    """

    max_frames: int | None = None
    min_track_score: float = 0.3
    min_keypoint_score: float = 0.2
    max_lost_seconds: float = 1.0
    smooth: bool = False
    smoothing: KeypointSmoother = _DEFAULT_SMOOTHING

    def open(self, source: str, *, audio: bool = False) -> AbstractContextManager[Video]:
        """Open a video; see `open_video`."""
        return open_video(source, audio=audio)

    def predict(self, video: Video, predictor: Predictor) -> Iterator[FrameResult]:
        """Yield the people of each frame."""
        results = self._track(video, predictor)
        return self.smoothing(results) if self.smooth else results

    def length(self, video: Video) -> int | None:
        """Return the number of frames that will be read, where it is known."""
        known = [count for count in (self.max_frames, video.count) if count]
        return min(known, default=None)

    def write(self, file: Path, video: Video) -> AbstractContextManager[VideoWriter]:
        """Write a video like another; see `write_video_like`."""
        return write_video_like(file, video)

    def _track(self, video: Video, predictor: Predictor) -> Iterator[FrameResult]:
        """Yield the people of each frame with their tracks."""
        tracker = PersonTracker(
            video.rate,
            min_track_score=self.min_track_score,
            min_keypoint_score=self.min_keypoint_score,
            max_lost_seconds=self.max_lost_seconds,
        )
        waiting: dict[int, Frame] = {}  # images are read ahead
        images = _frame_images(islice(video.frames, self.max_frames), waiting)
        for number, image_result in enumerate(predictor.predict_iter(images)):
            image, result = image_result.get_or_raise()
            frame = waiting.pop(number)
            result = result._replace(tracks=tuple(tracker.update(result, frame.time)))
            yield FrameResult(number, frame.time, image, result, frame.duration)


def _frame_images(frames: Iterator[Frame], waiting: dict[int, Frame]) -> Iterator[np.ndarray]:
    """Yield the images of frames, and note the frames by number."""
    for number, frame in enumerate(frames):
        waiting[number] = frame
        yield frame.image
