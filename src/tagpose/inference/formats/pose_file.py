"""Files of the sign-language tools around `pose-format`; need it, of the extra `pose`.

A .pose file holds a whole sequence: frames x people x keypoints, with a header that names them. The
header is that of pose-format for COCO-WholeBody, with 133 keypoints in the same order.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tagpose.inference.results import PoseResult
from tagpose.io import atomic_write
from tagpose.skeletons.coco import WHOLEBODY

try:
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderDimensions
    from pose_format.utils.cocowholebody133_header import cocowholebody_components
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f".pose files need pose-format, and {error.name} is not installed; "
        "`pip install pose-format` brings it",
        name=error.name,
    ) from None  # its sentence would hide this one

_VERSION: Final = 0.2
_STILL_IMAGE_RATE: Final = 1.0  # frames per second of a file that has one frame


def to_pose(frames: Sequence[PoseResult], rate: float = _STILL_IMAGE_RATE) -> Any:
    """Return predictions for one image or the frames of a video as a `pose_format.Pose`.

    A track keeps its place among the people of all frames; the longest one comes first, because
    many readers look at the first person alone. People without a track come last, by score.

    Args:
        frames: predictions, all of them for the same size; at least one.
        rate: frames per second.

    Raises:
        ValueError: the skeleton is not COCO-WholeBody's, or a frame has another size.
    """
    sizes, skeleton = {result.size for result in frames}, frames[0].skeleton
    if skeleton.keypoints != WHOLEBODY.keypoints:
        raise ValueError(
            f".pose files have {WHOLEBODY.size} keypoints; skeleton {skeleton.name!r} has "
            f"{skeleton.size}, so write csv or jsonl"
        )
    if len(sizes) > 1:
        raise ValueError(f"a .pose file has frames of one size, not {sorted(sizes)}")
    places = _person_slots(frames)
    people = 1 + max((place for each in places for place in each), default=0)
    points = np.zeros((len(frames), people, skeleton.size, 3), np.float32)
    for frame, result, place in zip(points, frames, places, strict=True):
        frame[place] = result.keypoints
    header = PoseHeader(_VERSION, PoseHeaderDimensions(*frames[0].size), cocowholebody_components())
    return Pose(header, NumPyPoseBody(rate, points[..., :2], points[..., 2]))


def write_pose(file: Path, frames: Sequence[PoseResult], rate: float = _STILL_IMAGE_RATE) -> None:
    """Write a .pose file, all of it or nothing; see `to_pose`."""
    pose = to_pose(frames, rate)
    with atomic_write(file) as partial, partial.open("wb") as stream:
        pose.write(stream)


def _person_slots(frames: Sequence[PoseResult]) -> list[list[int]]:
    """The place of each person of each frame among all people of the file."""
    lengths = Counter(track for result in frames for track in result.tracks if track is not None)
    place_of = {track: place for place, (track, _) in enumerate(lengths.most_common())}
    places = []
    for result in frames:
        others = iter(range(len(place_of), len(place_of) + len(result.scores)))
        tracks = result.tracks or (None,) * len(result.scores)
        places.append([next(others) if t is None else place_of[t] for t in tracks])
    return places
