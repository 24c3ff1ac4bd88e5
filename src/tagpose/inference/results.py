"""This file holds what is found in an image, as its users take it on."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import CocoResult, to_coco_results
from tagpose.inference.formats.controlnet import to_controlnet, to_dwpose_image
from tagpose.inference.formats.keypoint_table import KeypointRow, to_table
from tagpose.inference.formats.openpose import to_openpose
from tagpose.skeletons.keypoint_layouts import OPENPOSE_BODY_25, KeypointLayout, convert_keypoints
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses

_DECIMALS = 2  # of image pixels in `PoseResult.to_dict`, more than a network knows
_SCORE_DECIMALS = 4


class PoseResult(NamedTuple):
    """The people of one image, the surest first; in image pixels of the image as it was shown."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y, score; rows of 0 where there is none
    scores: np.ndarray  # [P] float32, what the evaluation ranks people by
    part_confidences: Mapping[
        str, np.ndarray
    ]  # of each part [P]: the mean of all its keypoints' scores
    boxes: np.ndarray  # [P, 4] float32: left, top, width, height around the keypoints
    size: tuple[int, int]  # width, height of the image
    skeleton: Skeleton
    tracks: tuple[int | None, ...] = ()  # who each is in a video, None where unsure; () elsewhere

    @property
    def poses(self) -> Poses:
        """Keypoints and scores alone, as drawing and evaluation take them."""
        return Poses(self.keypoints, self.scores)

    def select(
        self,
        parts: Sequence[str] | None = None,
        *,
        min_person_score: float = 0.0,
        min_keypoint_score: float = 0.0,
    ) -> "PoseResult":
        """Return the people and keypoints above thresholds, of some parts only.

        Other keypoints become rows of 0, and people without any keypoint are dropped. The scores
        of people and parts stay the same.

        Args:
            parts: names of `skeleton.parts`, such as ["body", "lefthand"]; None for all.
            min_person_score: score below which people are dropped.
            min_keypoint_score: score below which a keypoint is missing.

        Raises:
            ValueError: the skeleton has no part of a name.
        """
        scores = self.keypoints[..., 2]
        here = (scores > 0) & (scores >= min_keypoint_score) & keypoint_mask(self.skeleton, parts)
        selected = (self.scores >= min_person_score) & here.any(1)
        keypoints = np.where(here[..., None], self.keypoints, np.float32(0))[selected]
        tracks = tuple(t for t, keep in zip(self.tracks, selected, strict=False) if keep)
        return self._replace(
            keypoints=keypoints,
            scores=self.scores[selected],
            part_confidences={part: each[selected] for part, each in self.part_confidences.items()},
            boxes=keypoint_boxes(keypoints, here[selected]),
            tracks=tracks,
        )

    def resize(self, size: tuple[int, int]) -> "PoseResult":
        """Return the predictions in pixels of the image resized to width, height."""
        scale = np.divide(size, self.size)
        here = self.keypoints[..., 2] > 0
        keypoints = self.keypoints.copy()
        # the center of the first pixel is 0
        keypoints[..., :2] = np.where(
            here[..., None], (keypoints[..., :2] + 0.5) * scale - 0.5, keypoints[..., :2]
        )
        return self._replace(keypoints=keypoints, boxes=keypoint_boxes(keypoints, here), size=size)

    def to_layout(self, layout: KeypointLayout) -> np.ndarray:
        """Return the keypoints x, y, score [P, Q, 3] in a layout of `keypoint_layouts.LAYOUTS`."""
        return convert_keypoints(self.keypoints, self.skeleton, layout)

    def to_openpose(self, body: KeypointLayout = OPENPOSE_BODY_25) -> dict[str, Any]:
        """Return OpenPose's JSON dictionary; see `formats.openpose.to_openpose`."""
        return to_openpose(self, body)

    def to_controlnet(self) -> dict[str, Any]:
        """Return the dictionary of ControlNet's pose nodes; see `formats.controlnet`."""
        return to_controlnet(self)

    def to_dwpose_image(self) -> np.ndarray:
        """Return the people on black [H, W, 3] uint8 RGB, as ControlNet expects them."""
        return to_dwpose_image(self)

    def to_table(self, image: str = "") -> list[KeypointRow]:
        """Return one row for each keypoint, for example for `pandas.DataFrame`."""
        return to_table(self, image)

    def to_coco(self, image_id: int = 0) -> list[CocoResult]:
        """Rows of the official result format, one for each person."""
        rows = to_coco_results(image_id, self.poses, self.skeleton)
        for row, track in zip(rows, self.tracks, strict=False):
            row["track_id"] = track
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, names and numbers, for JSON; keypoints that are missing are left out."""
        columns = zip(self.keypoints, self.scores, self.boxes, strict=True)
        width, height = self.size
        people: list[dict[str, Any]] = [
            {
                "score": round(float(score), _SCORE_DECIMALS),
                "box": _rounded(box, _DECIMALS),
                "parts": {
                    part: round(float(scores[p]), _SCORE_DECIMALS)
                    for part, scores in self.part_confidences.items()
                },
                "keypoints": {
                    name: [*_rounded(row[:2], _DECIMALS), round(float(row[2]), _SCORE_DECIMALS)]
                    for name, row in zip(self.skeleton.keypoints, keypoints, strict=True)
                    if row[2] > 0
                },
            }
            for p, (keypoints, score, box) in enumerate(columns)
        ]
        for person, track in zip(people, self.tracks, strict=False):
            person["track"] = track
        return {"width": width, "height": height, "people": people}


def make_pose_result(
    people: Poses,
    size: tuple[int, int],
    skeleton: Skeleton,
    *,
    min_person_score: float = 0.0,
    min_keypoint_score: float = 0.0,
) -> PoseResult:
    """What is found in an image, above thresholds.

    Args:
        people: [P] of the image, keypoints in image pixels.
        size: width, height of the image.
        skeleton: of the people.
        min_person_score: people below are left out.
        min_keypoint_score: keypoints below become rows of 0, as those that are missing.
    """
    selected = people.scores >= min_person_score
    keypoints, scores = people.keypoints[selected], people.scores[selected]
    # of what was found: a part is no worse because less of it is kept
    parts = {part: keypoints[:, at, 2].mean(1) for part, at in skeleton.disjoint_parts.items()}
    present = (keypoints[..., 2] > 0) & (keypoints[..., 2] >= min_keypoint_score)
    keypoints = np.where(present[..., None], keypoints, np.float32(0))
    return PoseResult(keypoints, scores, parts, keypoint_boxes(keypoints, present), size, skeleton)


def keypoint_mask(skeleton: Skeleton, parts: Sequence[str] | None) -> np.ndarray:
    """Return which keypoints [K] bool belong to parts of the skeleton; None means all parts.

    Raises:
        ValueError: the skeleton has no part of a name.
    """
    if parts is None:
        return np.ones(skeleton.size, bool)
    unknown = [part for part in parts if part not in skeleton.parts]
    if unknown:
        raise ValueError(
            f"unknown part {unknown[0]!r}; skeleton {skeleton.name!r} has "
            f"{', '.join(skeleton.parts)}"
        )
    mask = np.zeros(skeleton.size, bool)
    for part in parts:
        mask[skeleton.parts[part]] = True
    return mask


def keypoint_boxes(keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Boxes around the keypoints that are there; of 0 where none is.

    Args:
        keypoints: [P, K, 3] in image pixels.
        present: [P, K] bool.

    Returns:
        [P, 4] float32: left, top, width, height.
    """
    xy = keypoints[..., :2]
    low = np.where(present[..., None], xy, np.inf).min(1, initial=np.inf)
    high = np.where(present[..., None], xy, -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high - low], 1)
    return np.where(present.any(1, keepdims=True), boxes, 0).astype(np.float32)


def _rounded(values: np.ndarray, decimals: int) -> list[float]:
    """Plain numbers with few digits."""
    return [round(value, decimals) for value in values.tolist()]
