"""Temporal smoothing of tracked keypoints: One-Euro filter (Casiez 2012) and gap interpolation.

Every keypoint of every track has a separate filter, so people do not influence each other.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from tagpose.inference.results import PoseResult, make_pose_result
from tagpose.structures import Poses
from tagpose.video.frames import FrameResult

_TIME_TOLERANCE: Final = 1e-6  # seconds, for rounding errors
_RESET_SECONDS: Final = 0.5  # after longer gaps, keypoints are not pulled to their old position

_TrackKey: TypeAlias = tuple[int, tuple[int, int]]  # track, frame size


class _GapStart(NamedTuple):
    """Last detection of each keypoint of a track, where a gap in its detections may start."""

    time: np.ndarray  # [K] seconds, -inf if never detected
    keypoints: np.ndarray  # [K, 3] x, y, score
    score: float  # of the person


class _FilterState(NamedTuple):
    """Filter state of a track."""

    time: np.ndarray  # [K] seconds of the last detection, -inf if never detected
    xy: np.ndarray  # [K, 2] filtered position in image pixels
    velocity: np.ndarray  # [K, 2] filtered, in person sizes per second


@dataclass(frozen=True)
class KeypointSmoother:
    """Smooth the keypoints of tracked people over time and fill short gaps.

    People without a track, and keypoints below `min_keypoint_score` outside of filled gaps, are
    not changed.

    Attributes:
        min_cutoff: cutoff frequency in Hz for keypoints at rest; lower values remove more jitter.
        beta: increase of the cutoff in Hz per speed in person sizes per second; higher values
            remove more lag. Casiez 2012 measures speed in pixels; here it is relative to the
            longer side of the person's box, so that one value suits all resolutions and distances.
        derivative_cutoff: cutoff frequency of the speed in Hz.
        max_gap: longest time in seconds between two detections of a keypoint to interpolate
            linearly, with the lower of both scores; 0 disables interpolation. The output is
            delayed by this time.
        min_keypoint_score: keypoints with lower scores are treated as missing.

    Raises:
        ValueError: a cutoff is not positive, or `beta` or `max_gap` is negative.
    """

    min_cutoff: float = 1.0
    beta: float = 20.0
    derivative_cutoff: float = 1.0
    max_gap: float = 0.2
    min_keypoint_score: float = 0.2

    def __post_init__(self) -> None:
        for name in ("min_cutoff", "derivative_cutoff"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use a frequency above 0 Hz")
        for name in ("beta", "max_gap"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or a higher value")

    def __call__(self, frames: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Yield the frames with filled gaps and filtered keypoints."""
        states: dict[_TrackKey, _FilterState] = {}
        for current in self.fill_gaps(frames):
            keypoints = current.result.keypoints.copy()
            for p, track in enumerate(current.result.tracks):
                if track is not None:
                    key = track, current.result.size
                    states[key] = self._filter(states.get(key), keypoints[p], current.time)
                    detected = keypoints[p, :, 2] >= self.min_keypoint_score
                    keypoints[p, detected, :2] = states[key].xy[detected]
            people = Poses(keypoints, current.result.scores)
            yield current._replace(
                result=_replace_people(current.result, people, current.result.tracks)
            )

    def fill_gaps(self, frames: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Yield the frames with keypoints interpolated in gaps of up to `max_gap` seconds."""
        buffer: deque[FrameResult] = deque()
        last: dict[_TrackKey, _GapStart] = {}
        for current in frames:
            for p, track in enumerate(current.result.tracks):
                if track is not None:
                    self._fill_track(buffer, last, current, p, track)
            buffer.append(current)
            # Gaps that end later than now start after these frames.
            while buffer and current.time - buffer[0].time >= self.max_gap + _TIME_TOLERANCE:
                yield buffer.popleft()
        yield from buffer

    def _fill_track(
        self,
        buffer: deque[FrameResult],
        last: dict[_TrackKey, _GapStart],
        current: FrameResult,
        p: int,
        track: int,
    ) -> None:
        """Fill gaps of person p in buffered frames that end now, and update the last detections."""
        key, keypoints = (track, current.result.size), current.result.keypoints[p]
        score = float(current.result.scores[p])
        detected = keypoints[:, 2] >= self.min_keypoint_score  # [K]
        previous = last.get(key, _GapStart(np.full(len(detected), -np.inf), keypoints, score))
        is_gap = detected & (current.time - previous.time <= self.max_gap + _TIME_TOLERANCE)  # [K]
        for n, frame in enumerate(buffer):
            missing = is_gap & (previous.time < frame.time)
            if missing.any() and frame.result.size == current.result.size:
                start_time = previous.time[missing]
                fraction = (frame.time - start_time) / (current.time - start_time)
                start, stop = previous.keypoints[missing], keypoints[missing]
                between = start + fraction[:, None] * (stop - start)
                between[:, 2] = np.minimum(start[:, 2], stop[:, 2])
                filled = _insert_keypoints(
                    frame.result, track, missing, between, min(previous.score, score)
                )
                buffer[n] = frame._replace(result=filled)
        last[key] = _GapStart(
            np.where(detected, current.time, previous.time),
            np.where(detected[:, None], keypoints, previous.keypoints),
            score,
        )

    def _filter(
        self, state: _FilterState | None, keypoints: np.ndarray, time: float
    ) -> _FilterState:
        """Return the state after the keypoints [K, 3] of the next frame (Casiez 2012)."""
        xy = keypoints[:, :2].astype(np.float64)
        detected = keypoints[:, 2] >= self.min_keypoint_score
        if state is None:
            state = _FilterState(np.full(len(xy), -np.inf), xy, np.zeros_like(xy))
        elapsed = time - state.time  # [K]
        is_reset = elapsed > _RESET_SECONDS
        elapsed = np.where(is_reset, 1.0, elapsed)[:, None]
        size = max(1.0, float(np.ptp(xy[detected], axis=0).max())) if detected.any() else 1.0
        derivative = (xy - state.xy) / (size * elapsed)
        alpha = _smoothing_factor(elapsed, self.derivative_cutoff)
        velocity = state.velocity + alpha * (derivative - state.velocity)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True)
        alpha = _smoothing_factor(elapsed, self.min_cutoff + self.beta * speed)
        is_reset = is_reset[:, None]
        velocity = np.where(is_reset, 0.0, velocity)
        position = np.where(is_reset, xy, state.xy + alpha * (xy - state.xy))
        return _FilterState(
            np.where(detected, time, state.time),
            np.where(detected[:, None], position, state.xy),
            np.where(detected[:, None], velocity, state.velocity),
        )


def _smoothing_factor(elapsed: np.ndarray, cutoff: np.ndarray | float) -> np.ndarray:
    """Return the weight of a new value after `elapsed` seconds (Casiez 2012, eq. 5)."""
    time_constant = 1 / (2 * np.pi * cutoff)
    return 1 / (1 + time_constant / elapsed)


def _insert_keypoints(
    result: PoseResult, track: int, mask: np.ndarray, keypoints: np.ndarray, score: float
) -> PoseResult:
    """Replace keypoints of the person with a track, and add the person if it is missing.

    Args:
        result: people of a frame.
        track: track of the person.
        mask: mask [K] of the keypoints to replace.
        keypoints: x, y, score [sum(mask), 3] of these keypoints.
        score: score of the person if it is added.
    """
    all_keypoints, scores, tracks = result.keypoints.copy(), result.scores, result.tracks
    if track not in tracks:
        empty = np.zeros_like(all_keypoints, shape=(1, len(mask), 3))
        all_keypoints = np.concatenate([all_keypoints, empty])
        scores, tracks = np.append(scores, np.float32(score)), (*tracks, track)
    all_keypoints[tracks.index(track), mask] = keypoints
    order = np.argsort(-scores, kind="stable")
    people = Poses(all_keypoints[order], scores[order])
    return _replace_people(result, people, tuple(tracks[p] for p in order.tolist()))


def _replace_people(
    result: PoseResult, people: Poses, tracks: tuple[int | None, ...]
) -> PoseResult:
    """Return a result with other people and the boxes and part confidences computed from them."""
    return make_pose_result(people, result.size, result.skeleton)._replace(tracks=tracks)
