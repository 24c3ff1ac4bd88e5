"""Follows people from frame to frame: ByteTrack (Zhang 2022) on boxes around their keypoints."""

from fractions import Fraction
from typing import Final

import numpy as np
import supervision
from trackers import ByteTrackTracker

from tagpose.inference.results import PoseResult, keypoint_boxes

_UNCONFIRMED_ID: Final = -1  # the tracker's number of people that it does not follow yet


class PersonTracker:
    """The people of a video so far.

    Args:
        rate: frames per second; a camera may have fewer than it claims.
        min_track_score: score of a person from which a new track starts; people below only continue
            tracks.
        min_keypoint_score: score of the keypoints that count for boxes. A box around all keypoints
            is as large as the image where a few are guessed, and people could not be told apart.
        max_lost_seconds: seconds out of sight after which a person gets a new track.
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
        self._size: tuple[int, int] | None = None  # of the first frame, whose space boxes are in
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(
                30 * max_lost_seconds
            ),  # in frames at 30 per second, as it counts
            frame_rate=float(rate),
            track_activation_threshold=min_track_score,
            high_conf_det_threshold=min_track_score,
            minimum_consecutive_frames=1,
        )

    def update(self, result: PoseResult, time: float) -> list[int | None]:
        """Return the track of each person of the next frame.

        It is None in the first frame in which a person is seen, and for people of weak keypoints.

        Args:
            result: people of the frame.
            time: of the frame in seconds, later than that of the frame before.
        """
        self._size = self._size or result.size
        seen = result.keypoints[..., 2] >= self._min_keypoint_score  # [P, K]
        index = np.flatnonzero(seen.any(1))
        boxes = keypoint_boxes(result.keypoints, seen)[index]
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        # a resized video has its people at the same share of its sides
        corners *= np.tile(np.divide(self._size, result.size), 2)
        detections = supervision.Detections(
            corners, confidence=result.scores[index], data={"index": index}
        )
        followed = self._tracker.update(detections, timestamp=time)
        tracks: list[int | None] = [None] * len(result.scores)
        if len(followed) and followed.tracker_id is not None:
            for at, track in zip(followed.data["index"], followed.tracker_id, strict=True):
                tracks[int(at)] = None if track == _UNCONFIRMED_ID else int(track)
        return tracks
