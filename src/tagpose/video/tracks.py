"""This file says who is who from frame to frame: ByteTrack (Zhang 2022) on people's boxes."""

from fractions import Fraction
from typing import Final

import numpy as np
import supervision
from trackers import ByteTrackTracker

from tagpose.inference.found import Found

_NEVER: Final = -1  # the tracker's number of those whom it does not follow yet


class Tracks:
    """The people of a video so far.

    Args:
        rate: frames a second, of which a camera may show fewer than it says.
        sure: score of a person from which they are followed; those below are only taken for
            somebody who was seen before.
        patience: seconds after which somebody who is out of sight is another when seen again.
    """

    def __init__(self, rate: Fraction, *, sure: float = 0.3, patience: float = 1.0) -> None:
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(30 * patience),  # in frames at 30 a second, as it counts
            frame_rate=float(rate),
            track_activation_threshold=sure,
            high_conf_det_threshold=sure,
            minimum_consecutive_frames=1,
        )

    def follow(self, found: Found, time: float) -> list[int | None]:
        """The number of each person of the next frame; None for those who were not seen twice.

        Args:
            found: the people of the frame.
            time: of the frame, in seconds; later than that of the frame before.
        """
        corners = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], 1)
        order = np.arange(len(corners))
        seen = supervision.Detections(corners, confidence=found.scores, data={"place": order})
        told = self._tracker.update(seen, timestamp=time)
        numbers: list[int | None] = [None] * len(corners)
        if len(told) and told.tracker_id is not None:
            for place, number in zip(told.data["place"], told.tracker_id, strict=True):
                numbers[int(place)] = None if number == _NEVER else int(number)
        return numbers
