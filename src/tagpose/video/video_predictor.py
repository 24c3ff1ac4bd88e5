"""Predictor of people in videos, with tracking and smoothing."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tagpose.inference.image_outputs import OutputOptions
from tagpose.inference.predictor import Predictor
from tagpose.video.frames import Frame, FrameResult, Video
from tagpose.video.reader import open_video
from tagpose.video.smoothing import KeypointSmoother
from tagpose.video.tracker import PersonTracker
from tagpose.video.writer import write_video_outputs

_DEFAULT_SMOOTHING = KeypointSmoother()


@dataclass(frozen=True)
class VideoPredictor:
    """Predict and track people in videos.

    Attributes:
        max_frames: maximum number of frames of a video; None reads all frames.
        min_track_score: person score that starts a track, see `PersonTracker`.
        min_keypoint_score: score of keypoints to include in boxes, see `PersonTracker`.
        max_lost_seconds: seconds without detection that end a track, see `PersonTracker`.
        smooth: whether to smooth keypoints over time.
        smoothing: smoother to use if `smooth` is true.
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
        """Return the number of frames that will be read, or None if it is unknown."""
        counts = [count for count in (self.max_frames, video.count) if count]
        return min(counts, default=None)

    def write(
        self,
        frames: Iterator[FrameResult],
        video: Video,
        source: str,
        folder: Path,
        options: OutputOptions,
    ) -> FrameResult:
        """Write the output files and return the last frame; see `write_video_outputs`."""
        return write_video_outputs(frames, video, source, folder, options)

    def _track(self, video: Video, predictor: Predictor) -> Iterator[FrameResult]:
        """Yield the people of each frame with their tracks."""
        tracker = PersonTracker(
            video.rate,
            min_track_score=self.min_track_score,
            min_keypoint_score=self.min_keypoint_score,
            max_lost_seconds=self.max_lost_seconds,
        )
        pending: dict[int, Frame] = {}  # the predictor reads images ahead
        images = _frame_images(islice(video.frames, self.max_frames), pending)
        for number, image_result in enumerate(predictor.predict_iter(images)):
            image, result = image_result.get_or_raise()
            frame = pending.pop(number)
            result = result._replace(tracks=tuple(tracker.update(result, frame.time)))
            yield FrameResult(number, frame.time, image, result, frame.duration)


def _frame_images(frames: Iterator[Frame], pending: dict[int, Frame]) -> Iterator[np.ndarray]:
    """Yield the images of frames, and store the frames in `pending` by number."""
    for number, frame in enumerate(frames):
        pending[number] = frame
        yield frame.image
