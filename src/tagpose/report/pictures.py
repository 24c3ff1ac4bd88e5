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

from tagpose.data.image_files import locate_images
from tagpose.data.images import read_image
from tagpose.data.issue_log import IssueLog
from tagpose.drawing.people import draw_people, draw_truth
from tagpose.evaluation.truth import Truth
from tagpose.report.run import Run
from tagpose.skeleton import Skeleton
from tagpose.structures import People

_QUALITY: Final = 82  # of JPEG
_MISSED: Final = (214, 69, 65)  # box around people whom nobody found
_FALSE: Final = (250, 190, 40)  # box around those who are not there


class Picture(NamedTuple):
    """A picture of the page."""

    source: str  # a data: URI
    words: str  # for those who don't see it
    title: str
    width: int  # pixels
    height: int


def embed_svg(drawn: bytes) -> str:
    """A data: URI of an SVG file."""
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}"


def embed_photo(image: np.ndarray, words: str, title: str) -> Picture:
    """A picture [H, W, 3] uint8 RGB as the page has it."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Picture(source, words, title, width=image.shape[1], height=image.shape[0])


def image_files(truth: Truth, folder: Path) -> dict[int, Path]:
    """Where the images of a truth are, by image id; those that are not shown may be missing."""
    ids = truth.image_ids.tolist()
    found = locate_images(folder, truth.files, ids, IssueLog(folder, keep=1))
    names = (place or name for place, name in zip(found, truth.files, strict=True))
    return {image_id: folder / name for image_id, name in zip(ids, names, strict=True)}


@dataclass(frozen=True)
class Pictures:
    """Draws images for the page.

    Args:
        files: of the images, by image id.
        truth: of all of them.
        skeleton: of everybody in them.
        side: pixels of the longer side in the page; smaller images stay as they are.
        min_score: keypoints found below are not drawn.
    """

    files: Mapping[int, Path]
    truth: Truth
    skeleton: Skeleton
    side: int = 640
    min_score: float = 0.2

    def of_truth(self, n: int, run: Run) -> Picture:
        """Image number n with those who are there, and boxes around those the run missed."""
        here = self.truth.image == n
        image, zoom = self._small(n)
        drawn = draw_truth(image, _zoomed(self.truth.keypoints[here], zoom), self.skeleton)
        missed = here & run.matches.missed
        left, top, width, height = self.truth.boxes[missed].T
        _frame(drawn, np.c_[left, top, left + width, top + height] * zoom, _MISSED)
        words = f"image {self.truth.image_ids[n]}, the truth: {missed.sum()} people missed"
        return embed_photo(drawn, words, "truth")

    def of_run(self, n: int, run: Run) -> Picture:
        """Image number n with those whom a run found, and boxes around those not there."""
        found = run.compared.detections
        here = (found.image == n) & run.matches.shown
        image, zoom = self._small(n)
        people = People(_zoomed(found.keypoints[here], zoom), found.scores[-1, here])
        drawn = draw_people(image, people, self.skeleton, min_score=self.min_score)
        _frame(drawn, _extents(found.keypoints[here & run.matches.false]) * zoom, _FALSE)
        words = f"image {self.truth.image_ids[n]}, {run.name}: {here.sum()} people found"
        return embed_photo(drawn, words, run.name)

    def _small(self, n: int) -> tuple[np.ndarray, float]:
        """Image number n as the page shows it, and pixels of the page per image pixel."""
        image = read_image(self.files[int(self.truth.image_ids[n])])
        zoom = min(1.0, self.side / max(image.shape[:2]))
        if zoom == 1:
            return image, zoom
        size = [max(1, round(side * zoom)) for side in image.shape[1::-1]]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA), zoom


def _zoomed(keypoints: np.ndarray, zoom: float) -> np.ndarray:
    """Keypoints [P, K, 3] in pixels of the page."""
    # the centre of a pixel is its index, here and there
    xy = (keypoints[..., :2] + 0.5) * zoom - 0.5
    return np.concatenate([xy, keypoints[..., 2:]], -1)


def _extents(keypoints: np.ndarray) -> np.ndarray:
    """Boxes [P, 4], left, top, right, bottom, of keypoints [P, K, 3] that have a score above 0."""
    xy, there = keypoints[..., :2], keypoints[..., 2:] > 0
    low, high = np.where(there, xy, np.inf).min(1), np.where(there, xy, -np.inf).max(1)
    return np.concatenate([low, high], 1)


def _frame(picture: np.ndarray, boxes: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw boxes [N, 4], left, top, right, bottom in pixels, into the picture."""
    for left, top, right, bottom in np.rint(boxes).astype(int).tolist():
        cv2.rectangle(picture, (left, top), (right, bottom), colour, 2, cv2.LINE_AA)
