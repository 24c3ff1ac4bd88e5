"""Tracking of people by ByteTrack (Zhang 2022) on boxes around their keypoints."""

from fractions import Fraction
from typing import Final

import numpy as np
import supervision
from trackers import ByteTrackTracker

from tagpose.geometry import keypoint_boxes
from tagpose.inference.results import PoseResult

_UNCONFIRMED_ID: Final = -1  # ByteTrack's id of people without a track


class PersonTracker:
    """Tracker of the people in one video.

    Args:
        rate: nominal frames per second; cameras may be slower.
        min_track_score: person score that starts a new track; people with lower scores only
            continue existing tracks.
        min_keypoint_score: score of keypoints to include in boxes. With a few wrong keypoints, the
            box around all of them would be as large as the image and overlap those of others.
        max_lost_seconds: seconds without detection after which a person gets a new track.
    """

    def __init__(
        self,
        rate: Fraction,
        *,
        min_track_score: float = 0.3,
        min_keypoint_score: float = 0.2,
        max_lost_seconds: float = 1.0,
    ) -> None:
        self._min_keypoint_score = min_keypoint_score
        self._size: tuple[int, int] | None = None  # of the first frame, the space of the boxes
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(30 * max_lost_seconds),  # in frames at 30 frames per second
            frame_rate=float(rate),
            track_activation_threshold=min_track_score,
            high_conf_det_threshold=min_track_score,
            minimum_consecutive_frames=1,
        )

    def update(self, result: PoseResult, time: float) -> list[int | None]:
        """Return the track of each person of the next frame.

        A person has no track (None) in the first frame, or with weak keypoints only.

        Args:
            result: people of the frame.
            time: time of the frame in seconds, strictly increasing.
        """
        self._size = self._size or result.size
        detected = result.keypoints[..., 2] >= self._min_keypoint_score  # [P, K]
        index = np.flatnonzero(detected.any(1))
        boxes = keypoint_boxes(result.keypoints, detected)[index]
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        # If the frame size changes, relative positions stay the same.
        corners *= np.tile(np.divide(self._size, result.size), 2)
        detections = supervision.Detections(
            corners, confidence=result.scores[index], data={"index": index}
        )
        tracked = self._tracker.update(detections, timestamp=time)
        tracks: list[int | None] = [None] * len(result.scores)
        if len(tracked) and tracked.tracker_id is not None:
            for p, track in zip(tracked.data["index"], tracked.tracker_id, strict=True):
                tracks[int(p)] = None if track == _UNCONFIRMED_ID else int(track)
        return tracks
