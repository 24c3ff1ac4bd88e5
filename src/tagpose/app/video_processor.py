"""Prediction on uploaded videos with the settings of a page."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tagpose.app.rendering import format_sentence
from tagpose.app.sessions import IsStopped, ReportProgress
from tagpose.app.settings import ViewerSettings
from tagpose.inference.predictor import Predictor
from tagpose.video.frames import Frame, FrameResult
from tagpose.video.video_predictor import VideoPredictor


@dataclass(frozen=True)
class VideoProcessor:
    """Predict the people in uploaded videos and write the output files.

    Attributes:
        predictor: predictor of the network.
        options: options of tracking and smoothing; their thresholds are replaced by the session's.
        max_seconds: maximum duration of a video.
        max_pixels: maximum number of pixels of a frame.
    """

    predictor: Predictor
    options: VideoPredictor
    max_seconds: float
    max_pixels: int

    def predict(
        self,
        file: Path,
        settings: ViewerSettings,
        folder: Path,
        *,
        smooth: bool,
        report: ReportProgress,
        is_stopped: IsStopped,
    ) -> str:
        """Write the output files of a video, and return a message on its frames and tracks.

        Args:
            file: uploaded video.
            settings: thresholds, formats and style.
            folder: output folder.
            smooth: whether to smooth keypoints over time.
            report: called after each frame.
            is_stopped: called after each frame; if true, the frames so far are the video.

        Raises:
            ValueError: the video cannot be read, is too long or has too large frames.
        """
        start, tracks = time.perf_counter(), set[int]()
        options = self._with_thresholds(settings, smooth=smooth)
        predictor = self.predictor.with_decoder(settings.thresholds.apply(self.predictor.decoder))
        with options.open(str(file), audio=True) as video:
            self._check_duration(video.duration)
            video.frames = self._check_frames(video.frames)
            frames, total = options.predict(video, predictor), options.length(video)
            watched = _watch(frames, tracks, is_stopped, lambda done: report(done, total))
            last = options.write(watched, video, str(file), folder, settings.output)
        stopped = "Stopped. " if is_stopped() else ""
        notes = "".join(f" {format_sentence(note)}" for note in (*video.notes, *video.problems))
        return (
            f"{stopped}Frames: {last.number + 1}, tracked people: {len(tracks)}. "
            f"Prediction took {time.perf_counter() - start:.1f} s.{notes}"
        )

    def _with_thresholds(self, settings: ViewerSettings, *, smooth: bool) -> VideoPredictor:
        """Return the options with the thresholds of a session."""
        person, keypoint = settings.thresholds[:2]
        return replace(
            self.options,
            min_track_score=person,
            min_keypoint_score=keypoint,
            smooth=smooth,
            smoothing=replace(self.options.smoothing, min_keypoint_score=keypoint),
        )

    def _check_frames(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield frames, or raise a ValueError at the first one that is too late or too large."""
        for frame in frames:
            self._check_duration(frame.time)
            height, width = frame.image.shape[:2]
            if width * height > self.max_pixels:
                raise ValueError(
                    f"the video has frames of {width} x {height} pixels; resize them to at most "
                    f"{self.max_pixels / 1e6:g} million pixels"
                )
            yield frame

    def _check_duration(self, seconds: float) -> None:
        """Raise a ValueError if a video of this duration is too long."""
        if seconds > self.max_seconds:
            raise ValueError(
                f"the video lasts at least {seconds:.1f} s; shorten it to {self.max_seconds:g} s, "
                "or start the app with a higher max_video_seconds"
            )


def _watch(
    frames: Iterator[FrameResult],
    tracks: set[int],
    is_stopped: IsStopped,
    report: Callable[[int], None],
) -> Iterator[FrameResult]:
    """Yield frames until the video is stopped, collect their tracks and report progress."""
    for frame in frames:
        yield frame
        tracks.update(track for track in frame.result.tracks if track is not None)
        report(frame.number + 1)
        if is_stopped():
            return
