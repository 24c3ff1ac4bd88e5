"""Cards of single images: a summary of the errors, and pictures of ground truth and predictions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.embedded_images import EmbeddedImage, ImageRenderer
from tagpose.report.keypoint_errors import ErrorType, ImageErrors, top_indices


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
