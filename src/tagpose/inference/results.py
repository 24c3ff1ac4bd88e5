"""Prediction results: the poses in one image, their selection and conversion to other formats."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tagpose.evaluation.coco_results import CocoResult, to_coco_results
from tagpose.geometry import keypoint_boxes
from tagpose.inference.formats.controlnet import to_controlnet, to_dwpose_image
from tagpose.inference.formats.keypoint_table import KeypointRow, to_table
from tagpose.inference.formats.openpose import COORDINATE_DECIMALS, SCORE_DECIMALS, to_openpose
from tagpose.skeletons.keypoint_layouts import OPENPOSE_BODY_25, KeypointLayout, convert_keypoints
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses


class PoseResult(NamedTuple):
    """The P people in one image by descending score, in pixels of the upright image."""

    keypoints: np.ndarray  # [P, K, 3] float32: x, y, score; missing keypoints are rows of 0
    scores: np.ndarray  # [P] float32, by which the evaluation ranks people
    part_confidences: Mapping[str, np.ndarray]  # [P] by part: mean score of all its keypoints
    boxes: np.ndarray  # [P, 4] float32: left, top, width, height around the keypoints
    size: tuple[int, int]  # width, height of the image
    skeleton: Skeleton
    tracks: tuple[int | None, ...] = ()  # track ids in a video, None if unknown; () for images

    @property
    def poses(self) -> Poses:
        """Keypoints and scores only, as drawing and evaluation need them."""
        return Poses(self.keypoints, self.scores)

    def select(
        self,
        parts: Sequence[str] | None = None,
        *,
        min_person_score: float = 0.0,
        min_keypoint_score: float = 0.0,
    ) -> "PoseResult":
        """Return the people and keypoints above thresholds, optionally of some parts only.

        Other keypoints become rows of 0, and people without any keypoint are dropped. The scores
        of people and parts do not change.

        Args:
            parts: names of `skeleton.parts`, such as ["body", "lefthand"]; None for all.
            min_person_score: score below which people are dropped.
            min_keypoint_score: score below which keypoints are dropped.

        Raises:
            ValueError: if the skeleton has no part of that name.
        """
        scores = self.keypoints[..., 2]
        present = (scores > 0) & (scores >= min_keypoint_score)
        present &= self.skeleton.keypoint_mask(parts)
        selected = (self.scores >= min_person_score) & present.any(1)
        keypoints = np.where(present[..., None], self.keypoints, np.float32(0))[selected]
        confidences = self.part_confidences.items()
        tracks = tuple(t for t, keep in zip(self.tracks, selected, strict=False) if keep)
        return self._replace(
            keypoints=keypoints,
            scores=self.scores[selected],
            part_confidences={part: values[selected] for part, values in confidences},
            boxes=keypoint_boxes(keypoints, present[selected]),
            tracks=tracks,
        )

    def resize(self, size: tuple[int, int]) -> "PoseResult":
        """Return the result in pixels of the image resized to (width, height)."""
        scale = np.divide(size, self.size)
        present = self.keypoints[..., 2] > 0
        keypoints = self.keypoints.copy()
        # the center of the first pixel is 0
        keypoints[..., :2] = np.where(
            present[..., None], (keypoints[..., :2] + 0.5) * scale - 0.5, keypoints[..., :2]
        )
        boxes = keypoint_boxes(keypoints, present)
        return self._replace(keypoints=keypoints, boxes=boxes, size=size)

    def to_layout(self, layout: KeypointLayout) -> np.ndarray:
        """Return keypoints [P, Q, 3] x, y, score in one of `keypoint_layouts.LAYOUTS`."""
        return convert_keypoints(self.keypoints, self.skeleton, layout)

    def to_openpose(self, body: KeypointLayout = OPENPOSE_BODY_25) -> dict[str, Any]:
        """Convert to OpenPose's JSON dictionary; see `formats.openpose.to_openpose`."""
        return to_openpose(self, body)

    def to_controlnet(self) -> dict[str, Any]:
        """Convert to the dictionary of ControlNet's pose nodes; see `formats.controlnet`."""
        return to_controlnet(self)

    def to_dwpose_image(self) -> np.ndarray:
        """Draw the people on black [H, W, 3] uint8 RGB, as ControlNet expects them."""
        return to_dwpose_image(self)

    def to_table(self, image: str = "") -> list[KeypointRow]:
        """Convert to one row per keypoint, for example for `pandas.DataFrame`."""
        return to_table(self, image)

    def to_coco(self, image_id: int = 0) -> list[CocoResult]:
        """Convert to records of COCO's result format, one per person."""
        results = to_coco_results(image_id, self.poses, self.skeleton)
        for result, track in zip(results, self.tracks, strict=False):
            result["track_id"] = track
        return results

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain lists, names and numbers for JSON, without missing keypoints."""
        width, height = self.size
        people: list[dict[str, Any]] = [
            {
                "score": _rounded_score(self.scores[p]),
                "box": _rounded_coordinates(self.boxes[p]),
                "parts": {
                    part: _rounded_score(scores[p])
                    for part, scores in self.part_confidences.items()
                },
                "keypoints": {
                    name: [*_rounded_coordinates(keypoint[:2]), _rounded_score(keypoint[2])]
                    for name, keypoint in zip(
                        self.skeleton.keypoints, self.keypoints[p], strict=True
                    )
                    if keypoint[2] > 0
                },
            }
            for p in range(len(self.scores))
        ]
        for person, track in zip(people, self.tracks, strict=False):
            person["track"] = track
        return {"width": width, "height": height, "people": people}


class ImageResult(NamedTuple):
    """Result for one of many images, or the error of reading it."""

    source: Any  # as passed by the caller
    image: np.ndarray | None  # [H, W, 3] uint8 RGB; None if it cannot be read or is not kept
    result: PoseResult | None  # None if the image cannot be read
    error: Exception | None
    num_frames: int = 1  # frames or pages of the file, of which the first one is used

    def get_or_raise(self) -> tuple[np.ndarray, PoseResult]:
        """Return image and result, or raise the error."""
        result = self.result_or_raise()
        if self.image is None:
            raise ValueError(f"{self.source} was read with keep_images=False; use result_or_raise")
        return self.image, result

    def result_or_raise(self) -> PoseResult:
        """Return the result, or raise the error."""
        if self.result is None:
            raise self.error or ValueError(f"{self.source} cannot be read")
        return self.result


def make_pose_result(
    people: Poses,
    size: tuple[int, int],
    skeleton: Skeleton,
    *,
    min_person_score: float = 0.0,
    min_keypoint_score: float = 0.0,
) -> PoseResult:
    """Build the result for an image from its poses above thresholds.

    Args:
        people: P people with keypoints [P, K, 3] in image pixels.
        size: width, height of the image.
        skeleton: skeleton of the poses.
        min_person_score: score below which people are dropped.
        min_keypoint_score: score below which keypoints are dropped: they become rows of 0.
    """
    selected = people.scores >= min_person_score
    keypoints, scores = people.keypoints[selected], people.scores[selected]
    # before keypoints are dropped, so that confidences do not depend on the threshold
    confidences = {
        part: keypoints[:, at, 2].mean(1) for part, at in skeleton.disjoint_parts.items()
    }
    present = (keypoints[..., 2] > 0) & (keypoints[..., 2] >= min_keypoint_score)
    keypoints = np.where(present[..., None], keypoints, np.float32(0))
    boxes = keypoint_boxes(keypoints, present)
    return PoseResult(keypoints, scores, confidences, boxes, size, skeleton)


def _rounded_coordinates(values: np.ndarray) -> list[float]:
    """Return coordinates as Python numbers with few digits."""
    return [round(value, COORDINATE_DECIMALS) for value in values.tolist()]


def _rounded_score(value: np.floating[Any]) -> float:
    """Return a score as a Python number with few digits."""
    return round(float(value), SCORE_DECIMALS)
