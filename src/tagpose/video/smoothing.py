"""Steadier keypoints of tracked people: One-Euro filter (Casiez 2012) and short gaps filled.

Each keypoint of each track is filtered alone, so nothing passes from one person to another.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from tagpose.inference.results import PoseResult, make_pose_result
from tagpose.structures import Poses

_TIME_TOLERANCE: Final = 1e-6  # seconds, of times as floats
_RESET_SECONDS: Final = (
    0.5  # seconds; a keypoint that comes back later is not pulled to where it was
)

_TrackKey: TypeAlias = tuple[int, tuple[int, int]]  # a track, and the size of the frame it is in


class FrameResult(NamedTuple):
    """One frame of a video, and the people in it."""

    number: int  # from 0
    time: float  # seconds since the first frame
    image: np.ndarray  # [H, W, 3] uint8 RGB
    result: PoseResult  # with tracks
    duration: float | None = None  # seconds; None where it is unknown


class _LastSighting(NamedTuple):
    """When and where each keypoint of a track was seen last."""

    time: np.ndarray  # [K] seconds, -inf for never
    keypoints: np.ndarray  # [K, 3] x, y, score
    score: float  # of the person


class _FilterState(NamedTuple):
    """State of the filter of a track."""

    time: np.ndarray  # [K] seconds of the last value, -inf for none
    xy: np.ndarray  # [K, 2] filtered position in image pixels
    velocity: np.ndarray  # [K, 2] filtered, in person sizes per second


@dataclass(frozen=True)
class KeypointSmoother:
    """Smooths keypoints of tracked people over time.

    Poses without a track are left as they are, and so are keypoints below `min_keypoint_score`
    unless they are filled in.

    Attributes:
        min_cutoff: cutoff frequency in Hz of a keypoint that does not move; a lower one removes
            more jitter.
        beta: Hz by which the cutoff rises per person size per second; a higher one removes more
            lag. Casiez 2012 measures the speed in pixels; here it is relative to the longer side of
            the person's box, so that one value suits every resolution and distance.
        derivative_cutoff: cutoff frequency in Hz of the speed.
        max_gap: seconds between two sightings of a keypoint up to which it is interpolated
            linearly in between, with the lower one of both scores; 0 fills nothing. Frames are
            delayed by that time.
        min_keypoint_score: score from which a keypoint counts as seen.
    """

    min_cutoff: float = 1.0
    beta: float = 20.0
    derivative_cutoff: float = 1.0
    max_gap: float = 0.2
    min_keypoint_score: float = 0.2

    def __post_init__(self) -> None:
        for name in ("min_cutoff", "derivative_cutoff"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0 Hz")
        for name in ("beta", "max_gap"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")

    def __call__(self, frames: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Yield the frames with gaps filled and keypoints filtered."""
        states: dict[_TrackKey, _FilterState] = {}
        for current in self.fill_gaps(frames):
            keypoints = current.result.keypoints.copy()
            for p, track in enumerate(current.result.tracks):
                if track is not None:
                    key = track, current.result.size
                    states[key] = self._filter(states.get(key), keypoints[p], current.time)
                    seen = keypoints[p, :, 2] >= self.min_keypoint_score
                    keypoints[p, seen, :2] = states[key].xy[seen]
            people = Poses(keypoints, current.result.scores)
            yield current._replace(
                result=_replace_people(current.result, people, current.result.tracks)
            )

    def fill_gaps(self, frames: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Yield the frames with keypoints interpolated in gaps of up to `max_gap` seconds."""
        waiting: deque[FrameResult] = deque()
        seen: dict[_TrackKey, _LastSighting] = {}
        for current in frames:
            for p, track in enumerate(current.result.tracks):
                if track is not None:
                    self._fill(waiting, seen, current, p, track)
            waiting.append(current)
            # gaps that end later began after these
            while waiting and current.time - waiting[0].time >= self.max_gap + _TIME_TOLERANCE:
                yield waiting.popleft()
        yield from waiting

    def _fill(
        self,
        waiting: deque[FrameResult],
        seen: dict[_TrackKey, _LastSighting],
        current: FrameResult,
        p: int,
        track: int,
    ) -> None:
        """Fill what person p of a frame lacks in the waiting frames, and note what is seen now."""
        key, keypoints = (track, current.result.size), current.result.keypoints[p]
        score, now = float(current.result.scores[p]), keypoints[:, 2] >= self.min_keypoint_score
        before = seen.get(key, _LastSighting(np.full(len(now), -np.inf), keypoints, score))
        near = now & (current.time - before.time <= self.max_gap + _TIME_TOLERANCE)  # [K]
        for n, frame in enumerate(waiting):
            missing = near & (before.time < frame.time)
            if missing.any() and frame.result.size == current.result.size:
                share = (frame.time - before.time[missing]) / (current.time - before.time[missing])
                ends = before.keypoints[missing], keypoints[missing]
                between = ends[0] + share[:, None] * (ends[1] - ends[0])
                between[:, 2] = np.minimum(ends[0][:, 2], ends[1][:, 2])
                filled = _with_keypoints(
                    frame.result, track, missing, between, min(before.score, score)
                )
                waiting[n] = frame._replace(result=filled)
        seen[key] = _LastSighting(
            np.where(now, current.time, before.time),
            np.where(now[:, None], keypoints, before.keypoints),
            score,
        )

    def _filter(
        self, state: _FilterState | None, keypoints: np.ndarray, time: float
    ) -> _FilterState:
        """Return the state after the keypoints [K, 3] of the next frame (Casiez 2012)."""
        xy, seen = keypoints[:, :2].astype(np.float64), keypoints[:, 2] >= self.min_keypoint_score
        if state is None:
            state = _FilterState(np.full(len(xy), -np.inf), xy, np.zeros_like(xy))
        elapsed = time - state.time  # [K]
        fresh = elapsed > _RESET_SECONDS
        elapsed = np.where(fresh, 1.0, elapsed)[:, None]
        size = max(1.0, float(np.ptp(xy[seen], axis=0).max())) if seen.any() else 1.0
        moved = (xy - state.xy) / (size * elapsed)
        rate = _smoothing_factor(elapsed, self.derivative_cutoff)
        velocity = state.velocity + rate * (moved - state.velocity)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True)
        follow = _smoothing_factor(elapsed, self.min_cutoff + self.beta * speed)
        fresh = fresh[:, None]
        velocity = np.where(fresh, 0.0, velocity)
        position = np.where(fresh, xy, state.xy + follow * (xy - state.xy))
        keep = seen[:, None]
        return _FilterState(
            np.where(seen, time, state.time),
            np.where(keep, position, state.xy),
            np.where(keep, velocity, state.velocity),
        )


def _smoothing_factor(elapsed: np.ndarray, cutoff: np.ndarray | float) -> np.ndarray:
    """Return the weight of a new value of a low-pass filter after seconds (Casiez 2012, eq. 5)."""
    time_constant = 1 / (2 * np.pi * cutoff)
    return 1 / (1 + time_constant / elapsed)


def _with_keypoints(
    frame: PoseResult, track: int, at: np.ndarray, keypoints: np.ndarray, score: float
) -> PoseResult:
    """Return a frame whose person of that track has other keypoints; added if it is missing.

    Args:
        frame: to change.
        track: of the person.
        at: which keypoints [K] bool.
        keypoints: their x, y, score [sum(at), 3].
        score: of the person, if it is added.
    """
    everyone, scores, tracks = frame.keypoints.copy(), frame.scores, frame.tracks
    if track not in tracks:
        everyone = np.concatenate([everyone, np.zeros_like(everyone, shape=(1, len(at), 3))])
        scores, tracks = np.append(scores, np.float32(score)), (*tracks, track)
    everyone[tracks.index(track), at] = keypoints
    order = np.argsort(-scores, kind="stable")
    people = Poses(everyone[order], scores[order])
    return _replace_people(frame, people, tuple(tracks[p] for p in order.tolist()))


def _replace_people(frame: PoseResult, people: Poses, tracks: tuple[int | None, ...]) -> PoseResult:
    """Return a frame of other people, with boxes and part scores of theirs."""
    return make_pose_result(people, frame.size, frame.skeleton)._replace(tracks=tracks)
