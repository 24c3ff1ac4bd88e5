"""Predictions as .pose files for sign-language tools; needs pose-format (extra `pose`).

A .pose file contains a sequence, frames x people x keypoints, and a header with the keypoint names.
The header is that of pose-format for COCO-WholeBody, with its 133 keypoints in the same order.
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
        "run `pip install pose-format`",
        name=error.name,
    ) from None  # the original message would hide this one

_VERSION: Final = 0.2
_STILL_IMAGE_RATE: Final = 1.0  # frames per second of a file with a single frame


def to_pose(frames: Sequence[PoseResult], rate: float = _STILL_IMAGE_RATE) -> Any:
    """Convert predictions for an image or the frames of a video to a `pose_format.Pose`.

    A track has the same person index in all frames. The longest track comes first, because many
    readers use the first person only; people without a track come last, by score.

    Args:
        frames: predictions for images of the same size, at least one.
        rate: frames per second.

    Raises:
        ValueError: if the skeleton is not COCO-WholeBody's, or frames differ in size.
    """
    sizes, skeleton = {result.size for result in frames}, frames[0].skeleton
    if skeleton.keypoints != WHOLEBODY.keypoints:
        raise ValueError(
            f".pose files have {WHOLEBODY.size} keypoints; skeleton {skeleton.name!r} has "
            f"{skeleton.size}; use formats=[csv] or [jsonl]"
        )
    if len(sizes) > 1:
        raise ValueError(
            f"frames have sizes {sorted(sizes)}, but those of a .pose file must have one size; "
            "resize them with PoseResult.resize"
        )
    slots = _person_slots(frames)
    people = 1 + max((slot for frame_slots in slots for slot in frame_slots), default=0)
    points = np.zeros((len(frames), people, skeleton.size, 3), np.float32)
    for frame_points, result, frame_slots in zip(points, frames, slots, strict=True):
        frame_points[frame_slots] = result.keypoints
    header = PoseHeader(_VERSION, PoseHeaderDimensions(*frames[0].size), cocowholebody_components())
    return Pose(header, NumPyPoseBody(rate, points[..., :2], points[..., 2]))


def write_pose(file: Path, frames: Sequence[PoseResult], rate: float = _STILL_IMAGE_RATE) -> None:
    """Write a .pose file atomically; see `to_pose`."""
    pose = to_pose(frames, rate)
    with atomic_write(file) as partial, partial.open("wb") as stream:
        pose.write(stream)


def _person_slots(frames: Sequence[PoseResult]) -> list[list[int]]:
    """Return the person index in the file of each person of each frame."""
    lengths = Counter(track for result in frames for track in result.tracks if track is not None)
    track_slots = {track: slot for slot, (track, _) in enumerate(lengths.most_common())}
    slots = []
    for result in frames:
        others = iter(range(len(track_slots), len(track_slots) + len(result.scores)))
        tracks = result.tracks or (None,) * len(result.scores)
        slots.append([next(others) if t is None else track_slots[t] for t in tracks])
    return slots
