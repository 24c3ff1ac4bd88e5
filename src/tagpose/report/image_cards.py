"""Cards of single images: errors, and embedded pictures of ground truth and predictions."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image

from tagpose.data.image_files import locate_images
from tagpose.data.images import load_image, read_annotated_image
from tagpose.data.issues import IssueLog
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.geometry import keypoint_boxes, resize_keypoints
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.keypoint_errors import ErrorType, ImageErrors
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.canvas import resize_for_drawing
from tagpose.visualization.colors import Color
from tagpose.visualization.poses import draw_ground_truth_poses, draw_poses

_JPEG_QUALITY: Final = 82
_MISSED_COLOR: Final[Color] = (214, 69, 65)  # boxes of missed people
_FALSE_POSITIVE_COLOR: Final[Color] = (250, 190, 40)  # boxes of false positives


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
        picture = draw_ground_truth_poses(
            image, resize_keypoints(self.ground_truth.keypoints[in_image], zoom), self.skeleton
        )
        missed = in_image & run.matches.missed
        _draw_error_boxes(picture, self.ground_truth.boxes[missed] * zoom, _MISSED_COLOR)
        alt_text = f"image {self.ground_truth.image_ids[n]}, ground truth: {missed.sum()} missed"
        return embed_jpeg(picture, alt_text, "ground truth")

    def draw_predictions(self, n: int, run: AnalyzedResults) -> EmbeddedImage:
        """Draw a run's predictions for image n, with boxes around false positives."""
        detections = run.paired.detections
        in_image = (detections.image == n) & run.matches.evaluated
        image, zoom = self._read_resized(n)
        keypoints = resize_keypoints(detections.keypoints[in_image], zoom)
        people = Poses(keypoints, detections.scores[-1, in_image])
        picture = draw_poses(image, people, self.skeleton, min_score=self.min_score)
        false_positives = detections.keypoints[in_image & run.matches.false_positive]
        boxes = keypoint_boxes(false_positives, false_positives[..., 2] > 0)
        _draw_error_boxes(picture, boxes * zoom, _FALSE_POSITIVE_COLOR)
        image_id = self.ground_truth.image_ids[n]
        alt_text = f"image {image_id}, {run.name}: {in_image.sum()} people predicted"
        return embed_jpeg(picture, alt_text, run.name)

    def _read_resized(self, n: int) -> tuple[np.ndarray, float]:
        """Return the image with index n, downsampled if necessary, and the scale factor."""
        file = self.files[int(self.ground_truth.image_ids[n])]
        width, height = self.ground_truth.sizes[n] if self.ground_truth.sizes else (0, 0)
        # without a size in the annotations, training reads the image upright, too
        image = read_annotated_image(file, (width, height)) if width else load_image(file)
        zoom = min(1.0, self.max_size / max(image.shape[:2]))
        return resize_for_drawing(image, zoom), zoom


def _draw_error_boxes(picture: np.ndarray, boxes: np.ndarray, color: Color) -> None:
    """Draw boxes [N, 4], left, top, width, height in pixels, into the picture in place."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    for left, top, right, bottom in np.rint(corners).astype(int).tolist():
        cv2.rectangle(picture, (left, top), (right, bottom), color, 2, cv2.LINE_AA)


class ErrorSummary(NamedTuple):
    """Errors of one run in an image."""

    run: str
    errors: Sequence[str]


class ImageCard(NamedTuple):
    """Title, errors and pictures of one image."""

    title: str
    summaries: Sequence[ErrorSummary]
    pictures: Sequence[EmbeddedImage]


def worst_cards(
    run: AnalyzedResults, ground_truth: GroundTruth, count: int, pictures: ImageRenderer | None
) -> list[ImageCard]:
    """Return cards of the images with the highest loss, worst first, without error-free images.

    Args:
        run: analyzed run.
        ground_truth: ground truth of all images.
        count: maximum number of images.
        pictures: renderer; None omits pictures.
    """
    cards = []
    for n in top_indices(run.errors.loss, count):
        title = f"image {ground_truth.image_ids[n]}"
        cards.append(ImageCard(title, [_summarize(run, n)], _render(n, [run], pictures)))
    return cards


def changed_cards(
    run: AnalyzedResults,
    other: AnalyzedResults,
    ground_truth: GroundTruth,
    count: int,
    pictures: ImageRenderer | None,
) -> list[ImageCard]:
    """Return cards of the images whose losses differ most; arguments as for `worst_cards`."""
    gain = other.errors.loss - run.errors.loss
    cards = []
    for n in top_indices(np.abs(gain), count):
        better = run.name if gain[n] > 0 else other.name
        title = f"image {ground_truth.image_ids[n]}: {better} is better by {abs(gain[n]):.2f}"
        summaries = [_summarize(run, n), _summarize(other, n)]
        cards.append(ImageCard(title, summaries, _render(n, [run, other], pictures)))
    return cards


def _render(
    n: int, runs: Sequence[AnalyzedResults], pictures: ImageRenderer | None
) -> list[EmbeddedImage]:
    """Draw the ground truth of the image with index n and the predictions of each run."""
    if pictures is None:
        return []
    return [
        pictures.draw_ground_truth(n, runs[0]),
        *(pictures.draw_predictions(n, run) for run in runs),
    ]


def _summarize(run: AnalyzedResults, n: int) -> ErrorSummary:
    """Summarize the errors of a run in the image with index n."""
    return ErrorSummary(run.name, _describe_errors(run.errors, n) or ["no errors"])


def _describe_errors(errors: ImageErrors, n: int) -> list[str]:
    """Return short descriptions of the errors in the image with index n."""
    matched, missed, false_positives = (int(counts[n]) for counts in errors[:3])
    texts = []
    if missed:
        texts.append(f"{missed} of {matched + missed} people missed")
    if false_positives:
        texts.append(f"{false_positives} false positive{'s' if false_positives > 1 else ''}")
    if matched and errors.oks_loss[n] > 0:
        texts.append(f"mean OKS of matched people {1 - errors.oks_loss[n] / matched:.2f}")
    counts = errors.keypoints[n]
    wrong = [
        f"{counts[t]} {t.name.lower()}" for t in ErrorType if t != ErrorType.GOOD and counts[t]
    ]
    return [*texts, f"{counts.sum()} keypoints: {', '.join(wrong)}"] if wrong else texts


def top_indices(values: np.ndarray, count: int) -> list[int]:
    """Return the indices of the highest values above 0 in descending order, at most `count`."""
    order = np.argsort(-values, kind="stable")[:count]
    return order[values[order] > 0].tolist()
