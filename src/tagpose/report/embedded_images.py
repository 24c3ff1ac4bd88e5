"""Images with ground truth or predictions, embedded in HTML as data URIs."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image

from tagpose.data.image_files import locate_images
from tagpose.data.images import read_annotated_image
from tagpose.data.issue_log import IssueLog
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.report.analysis import AnalyzedResults
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.poses import draw_ground_truth, draw_poses

_JPEG_QUALITY: Final = 82
_MISSED_COLOR: Final = (214, 69, 65)  # boxes of missed people
_FALSE_POSITIVE_COLOR: Final = (250, 190, 40)  # boxes of false positives


class EmbeddedImage(NamedTuple):
    """Image with its alternative text and title."""

    source: str  # data: URI
    alt_text: str  # for screen readers
    title: str
    width: int  # pixels
    height: int


def embed_svg(content: bytes) -> str:
    """Return the data: URI of an SVG file."""
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"


def embed_jpeg(image: np.ndarray, alt_text: str, title: str) -> EmbeddedImage:
    """Embed an image [H, W, 3] uint8 RGB as a JPEG file."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return EmbeddedImage(source, alt_text, title, width=image.shape[1], height=image.shape[0])


def find_image_files(ground_truth: GroundTruth, folder: Path) -> dict[int, Path]:
    """Return the paths of the images by image id; missing files only matter once they are drawn."""
    ids = ground_truth.image_ids.tolist()
    located = locate_images(folder, ground_truth.files, ids, IssueLog(folder, max_kept=1))
    names = (path or name for path, name in zip(located, ground_truth.files, strict=True))
    return {image_id: folder / name for image_id, name in zip(ids, names, strict=True)}


@dataclass(frozen=True)
class ImageRenderer:
    """Draw the ground truth or the predictions of an image for the report.

    Args:
        files: paths of the images by image id.
        ground_truth: ground truth of the images.
        skeleton: skeleton of ground truth and predictions.
        max_size: maximum pixels of the longer side; larger images are downsampled.
        min_score: predicted keypoints with lower scores are not drawn.
    """

    files: Mapping[int, Path]
    ground_truth: GroundTruth
    skeleton: Skeleton
    max_size: int = 640
    min_score: float = 0.2

    def draw_ground_truth(self, n: int, run: AnalyzedResults) -> EmbeddedImage:
        """Draw the annotated people of image n, with boxes around those that the run missed."""
        in_image = self.ground_truth.image == n
        image, zoom = self._read_resized(n)
        picture = draw_ground_truth(
            image, _scale_keypoints(self.ground_truth.keypoints[in_image], zoom), self.skeleton
        )
        missed = in_image & run.matches.missed
        left, top, width, height = self.ground_truth.boxes[missed].T
        _draw_boxes(picture, np.c_[left, top, left + width, top + height] * zoom, _MISSED_COLOR)
        alt_text = f"image {self.ground_truth.image_ids[n]}, ground truth: {missed.sum()} missed"
        return embed_jpeg(picture, alt_text, "ground truth")

    def draw_predictions(self, n: int, run: AnalyzedResults) -> EmbeddedImage:
        """Draw a run's predictions for image n, with boxes around false positives."""
        detections = run.paired.detections
        in_image = (detections.image == n) & run.matches.evaluated
        image, zoom = self._read_resized(n)
        keypoints = _scale_keypoints(detections.keypoints[in_image], zoom)
        people = Poses(keypoints, detections.scores[-1, in_image])
        picture = draw_poses(image, people, self.skeleton, min_score=self.min_score)
        false_positives = detections.keypoints[in_image & run.matches.false_positive]
        _draw_boxes(picture, _keypoint_boxes(false_positives) * zoom, _FALSE_POSITIVE_COLOR)
        image_id = self.ground_truth.image_ids[n]
        alt_text = f"image {image_id}, {run.name}: {in_image.sum()} people predicted"
        return embed_jpeg(picture, alt_text, run.name)

    def _read_resized(self, n: int) -> tuple[np.ndarray, float]:
        """Return the image with index n, downsampled if necessary, and the scale factor."""
        image = read_annotated_image(self.files[int(self.ground_truth.image_ids[n])])
        zoom = min(1.0, self.max_size / max(image.shape[:2]))
        if zoom == 1:
            return image, zoom
        size = [max(1, round(length * zoom)) for length in image.shape[1::-1]]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA), zoom


def _scale_keypoints(keypoints: np.ndarray, zoom: float) -> np.ndarray:
    """Convert keypoints [P, K, 3] from image pixels to pixels of the resized image."""
    # In both spaces, the center of a pixel is its index.
    xy = (keypoints[..., :2] + 0.5) * zoom - 0.5
    return np.concatenate([xy, keypoints[..., 2:]], -1)


def _keypoint_boxes(keypoints: np.ndarray) -> np.ndarray:
    """Return left, top, right, bottom [P, 4] of the keypoints [P, K, 3] with a score above 0."""
    xy, valid = keypoints[..., :2], keypoints[..., 2:] > 0
    low, high = np.where(valid, xy, np.inf).min(1), np.where(valid, xy, -np.inf).max(1)
    return np.concatenate([low, high], 1)


def _draw_boxes(picture: np.ndarray, boxes: np.ndarray, color: tuple[int, int, int]) -> None:
    """Draw boxes [N, 4], left, top, right, bottom in pixels, into the picture in place."""
    for left, top, right, bottom in np.rint(boxes).astype(int).tolist():
        cv2.rectangle(picture, (left, top), (right, bottom), color, 2, cv2.LINE_AA)
