"""Predictor of people in videos, with tracking and smoothing, and its output files."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from tagpose.inference.image_outputs import OutputOptions
from tagpose.inference.predictor import Predictor
from tagpose.video.frames import Frame, FrameResult, Video
from tagpose.video.inputs import output_stem, redact_password
from tagpose.video.reader import open_video
from tagpose.video.smoothing import KeypointSmoother
from tagpose.video.tracker import PersonTracker
from tagpose.video.writer import write_video_like

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


def write_video_outputs(
    frames: Iterator[FrameResult], video: Video, source: str, folder: Path, options: OutputOptions
) -> FrameResult:
    """Write the results of a video, and the video with drawn poses, and return the last frame.

    After an error, the frames before it are written, then it is raised.

    Args:
        frames: results of the frames.
        video: open video.
        source: path or address of the video, which names the output.
        folder: output folder.
        options: formats, filter and style.

    Raises:
        ValueError: there are no frames.
    """
    first = next(frames, None)  # before any file is opened: an empty video leaves none
    if first is None:
        name = redact_password(source)
        raise ValueError("; ".join([f"{name} has no frames that can be read", *video.problems]))
    failure, file = None, folder / f"{output_stem(source)}.mp4"
    with options.open_results(folder, rate=float(video.rate)) as write_result:
        drawing = write_video_like(file, video) if "pictures" in options.formats else nullcontext()
        with drawing as writer:
            try:
                for current in chain([first], frames):
                    position = {"frame": current.number, "time": round(current.time, 4)}
                    write_result(current.number, position, current.result)
                    if writer:
                        image = options.draw(current.image, current.result)
                        writer.add(image, current.time, current.duration)
            except (Exception, KeyboardInterrupt) as error:
                failure = error
    if failure:
        raise failure
    return current


def _frame_images(frames: Iterator[Frame], pending: dict[int, Frame]) -> Iterator[np.ndarray]:
    """Yield the images of frames, and store the frames in `pending` by number."""
    for number, frame in enumerate(frames):
        pending[number] = frame
        yield frame.image
