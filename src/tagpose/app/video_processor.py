"""Prediction on uploaded videos, at most one per session at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Condition
from typing import Final, TypeAlias

from tagpose.app.settings import ViewerSettings
from tagpose.app.uploads import format_sentence
from tagpose.inference.predictor import Predictor
from tagpose.video.frames import FrameResult
from tagpose.video.video_predictor import VideoPredictor

ReportProgress: TypeAlias = Callable[[int, int | None], None]  # number of frames done, and of all

_CLOSE_TIMEOUT: Final = 30.0  # seconds to finish the current frames


def _ignore_progress(done: int, total: int | None) -> None:
    """Report nothing."""


class VideoProcessor:
    """Predict the people in uploaded videos and write the output files.

    Args:
        predictor: predictor of the network.
        options: options of tracking and smoothing; their thresholds are replaced by the session's.
        max_seconds: maximum duration of a video.
    """

    def __init__(self, predictor: Predictor, options: VideoPredictor, max_seconds: float) -> None:
        self.predictor, self.options, self.max_seconds = predictor, options, max_seconds
        self._stop_requested: dict[str, bool] = {}  # by session with a running video
        self._changed = Condition()

    def predict(
        self,
        session_id: str,
        file: Path,
        settings: ViewerSettings,
        folder: Path,
        *,
        smooth: bool = False,
        report: ReportProgress = _ignore_progress,
    ) -> str:
        """Predict a video and write its output files; see `write_video_outputs`.

        Args:
            session_id: id of the session.
            file: uploaded video.
            settings: thresholds, formats and style.
            folder: output folder.
            smooth: whether to smooth keypoints over time.
            report: called after each frame.

        Returns:
            A message on the frames and tracks.

        Raises:
            ValueError: the video cannot be read or is too long, or the session has a running video.
        """
        start, tracks = time.perf_counter(), set[int]()
        options = self._with_thresholds(settings, smooth=smooth)
        predictor = self.predictor.with_decoder(settings.thresholds.apply(self.predictor.decoder))
        with self._run(session_id) as is_stopped, options.open(str(file), audio=True) as video:
            self._check_duration(video.duration)
            frames, total = options.predict(video, predictor), options.length(video)
            watched = self._watch(frames, tracks, is_stopped, lambda done: report(done, total))
            last = options.write(watched, video, str(file), folder, settings.output)
            stopped = "Stopped. " if is_stopped() else ""
        notes = "".join(f" {format_sentence(note)}" for note in (*video.notes, *video.problems))
        return (
            f"{stopped}Frames: {last.number + 1}, tracked people: {len(tracks)}. "
            f"Prediction took {time.perf_counter() - start:.1f} s.{notes}"
        )

    def stop(self, session_id: str) -> None:
        """Stop the session's video, if there is one, after the current frame."""
        with self._changed:
            if session_id in self._stop_requested:
                self._stop_requested[session_id] = True

    def close(self) -> None:
        """Stop all videos, and wait until their files are closed."""
        for session_id in list(self._stop_requested):
            self.stop(session_id)
        with self._changed:
            self._changed.wait_for(lambda: not self._stop_requested, _CLOSE_TIMEOUT)

    def _with_thresholds(self, settings: ViewerSettings, *, smooth: bool) -> VideoPredictor:
        """Return the options with the thresholds of a session."""
        person, keypoint = settings.thresholds[:2]
        smoothing = replace(self.options.smoothing, min_keypoint_score=keypoint)
        return replace(
            self.options,
            min_track_score=person,
            min_keypoint_score=keypoint,
            smooth=smooth,
            smoothing=smoothing,
        )

    def _watch(
        self,
        frames: Iterator[FrameResult],
        tracks: set[int],
        is_stopped: Callable[[], bool],
        report: Callable[[int], None],
    ) -> Iterator[FrameResult]:
        """Yield frames until the video is stopped, collect their tracks and report progress."""
        for frame in frames:
            self._check_duration(frame.time)
            yield frame
            tracks.update(track for track in frame.result.tracks if track is not None)
            report(frame.number + 1)
            if is_stopped():
                return

    def _check_duration(self, seconds: float) -> None:
        """Raise a ValueError if a video of this duration is too long."""
        if seconds > self.max_seconds:
            raise ValueError(
                f"the video lasts at least {seconds:.1f} s; shorten it to {self.max_seconds:g} s, "
                "or start the app with a higher max_video_seconds"
            )

    @contextmanager
    def _run(self, session_id: str) -> Iterator[Callable[[], bool]]:
        """Register a running video, and yield the function that returns whether to stop it."""
        with self._changed:
            if session_id in self._stop_requested:
                raise ValueError(
                    "another video of this page is being processed; wait for it, or stop it first"
                )
            self._stop_requested[session_id] = False
        try:
            yield lambda: self._stop_requested[session_id]
        finally:
            with self._changed:
                del self._stop_requested[session_id]
                self._changed.notify_all()
