"""This file makes pictures that stand in the page itself."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image

from tagpose.data.image_lookup import locate_images
from tagpose.data.images import read_annotated_image
from tagpose.data.issue_log import IssueLog
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.report.analysis import AnalyzedResults
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.poses import draw_ground_truth, draw_poses

_QUALITY: Final = 82  # of JPEG
_MISSED_COLOR: Final = (214, 69, 65)  # box around people whom nobody found
_FALSE_POSITIVE_COLOR: Final = (250, 190, 40)  # box around those who are not there


class EmbeddedImage(NamedTuple):
    """A picture of the page."""

    source: str  # a data: URI
    alt_text: str  # for those who don't see it
    title: str
    width: int  # pixels
    height: int


def embed_svg(drawn: bytes) -> str:
    """A data: URI of an SVG file."""
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}"


def embed_jpeg(image: np.ndarray, words: str, title: str) -> EmbeddedImage:
    """A picture [H, W, 3] uint8 RGB as the page has it."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return EmbeddedImage(source, words, title, width=image.shape[1], height=image.shape[0])


def find_image_files(ground_truth: GroundTruth, folder: Path) -> dict[int, Path]:
    """Where the images of a ground truth are, by image id; those that are not shown may be missing."""
    ids = ground_truth.image_ids.tolist()
    found = locate_images(folder, ground_truth.files, ids, IssueLog(folder, max_kept=1))
    names = (place or name for place, name in zip(found, ground_truth.files, strict=True))
    return {image_id: folder / name for image_id, name in zip(ids, names, strict=True)}


@dataclass(frozen=True)
class ImageRenderer:
    """Draws images for the page.

    Args:
        files: of the images, by image id.
        ground_truth: of all of them.
        skeleton: of everybody in them.
        max_size: pixels of the longer side in the page; smaller images stay as they are.
        min_score: keypoints found below are not drawn.
    """

    files: Mapping[int, Path]
    ground_truth: GroundTruth
    skeleton: Skeleton
    max_size: int = 640
    min_score: float = 0.2

    def draw_ground_truth(self, n: int, run: AnalyzedResults) -> EmbeddedImage:
        """Image number n with those who are there, and boxes around those the run missed."""
        here = self.ground_truth.image == n
        image, zoom = self._read_small(n)
        drawn = draw_ground_truth(
            image, _scale_keypoints(self.ground_truth.keypoints[here], zoom), self.skeleton
        )
        missed = here & run.matches.missed
        left, top, width, height = self.ground_truth.boxes[missed].T
        _draw_boxes(drawn, np.c_[left, top, left + width, top + height] * zoom, _MISSED_COLOR)
        words = f"image {self.ground_truth.image_ids[n]}, the ground truth: {missed.sum()} people missed"
        return embed_jpeg(drawn, words, "ground_truth")

    def draw_predictions(self, n: int, run: AnalyzedResults) -> EmbeddedImage:
        """Image number n with those whom a run found, and boxes around those not there."""
        found = run.paired.detections
        here = (found.image == n) & run.matches.counted
        image, zoom = self._read_small(n)
        people = Poses(_scale_keypoints(found.keypoints[here], zoom), found.scores[-1, here])
        drawn = draw_poses(image, people, self.skeleton, min_score=self.min_score)
        _draw_boxes(
            drawn,
            _keypoint_boxes(found.keypoints[here & run.matches.false]) * zoom,
            _FALSE_POSITIVE_COLOR,
        )
        words = f"image {self.ground_truth.image_ids[n]}, {run.name}: {here.sum()} people found"
        return embed_jpeg(drawn, words, run.name)

    def _read_small(self, n: int) -> tuple[np.ndarray, float]:
        """Image number n as the page shows it, and pixels of the page per image pixel."""
        image = read_annotated_image(self.files[int(self.ground_truth.image_ids[n])])
        zoom = min(1.0, self.max_size / max(image.shape[:2]))
        if zoom == 1:
            return image, zoom
        size = [max(1, round(side * zoom)) for side in image.shape[1::-1]]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA), zoom


def _scale_keypoints(keypoints: np.ndarray, zoom: float) -> np.ndarray:
    """Keypoints [P, K, 3] in pixels of the page."""
    # the centre of a pixel is its index, here and there
    xy = (keypoints[..., :2] + 0.5) * zoom - 0.5
    return np.concatenate([xy, keypoints[..., 2:]], -1)


def _keypoint_boxes(keypoints: np.ndarray) -> np.ndarray:
    """Boxes [P, 4], left, top, right, bottom, of keypoints [P, K, 3] that have a score above 0."""
    xy, there = keypoints[..., :2], keypoints[..., 2:] > 0
    low, high = np.where(there, xy, np.inf).min(1), np.where(there, xy, -np.inf).max(1)
    return np.concatenate([low, high], 1)


def _draw_boxes(picture: np.ndarray, boxes: np.ndarray, color: tuple[int, int, int]) -> None:
    """Draw boxes [N, 4], left, top, right, bottom in pixels, into the picture."""
    for left, top, right, bottom in np.rint(boxes).astype(int).tolist():
        cv2.rectangle(picture, (left, top), (right, bottom), color, 2, cv2.LINE_AA)
