"""This file shows single images: what is wrong in them, in words and in pictures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.embedded_images import EmbeddedImage, ImageRenderer
from tagpose.report.keypoint_errors import ErrorType, ImageErrors, top_indices


class ErrorSummary(NamedTuple):
    """What is wrong with the result of one run in an image."""

    run: str
    errors: Sequence[str]


class ImageCard(NamedTuple):
    """One image."""

    title: str
    verdicts: Sequence[ErrorSummary]
    pictures: Sequence[EmbeddedImage]


def worst_cards(
    run: AnalyzedResults, ground_truth: GroundTruth, count: int, pictures: ImageRenderer | None
) -> list[ImageCard]:
    """The images in which most is lost, the worst first; none in which nothing is.

    Args:
        run: whose errors are meant.
        ground_truth: of all images.
        count: of images at most.
        pictures: draws them; without, cards have words alone.
    """
    cards = []
    for n in top_indices(run.errors.loss, count):
        title = f"image {ground_truth.image_ids[n]}"
        cards.append(ImageCard(title, [_summarize(run, n)], _render(n, [run], pictures)))
    return cards


def changed_cards(
    one: AnalyzedResults,
    other: AnalyzedResults,
    ground_truth: GroundTruth,
    count: int,
    pictures: ImageRenderer | None,
) -> list[ImageCard]:
    """The images in which two runs differ most; arguments are those of `worst_cards`."""
    gain = other.errors.loss - one.errors.loss
    cards = []
    for n in top_indices(np.abs(gain), count):
        better = one.name if gain[n] > 0 else other.name
        title = f"image {ground_truth.image_ids[n]}: {better} is better by {abs(gain[n]):.2f}"
        verdicts = [_summarize(run, n) for run in (one, other)]
        cards.append(ImageCard(title, verdicts, _render(n, [one, other], pictures)))
    return cards


def _render(
    n: int, runs: Sequence[AnalyzedResults], pictures: ImageRenderer | None
) -> list[EmbeddedImage]:
    """The ground truth of image number n and what each run found."""
    if pictures is None:
        return []
    return [
        pictures.draw_ground_truth(n, runs[0]),
        *(pictures.draw_predictions(n, run) for run in runs),
    ]


def _summarize(run: AnalyzedResults, n: int) -> ErrorSummary:
    """What is wrong in image number n."""
    return ErrorSummary(run.name, _describe_errors(run.errors, n) or ["nothing wrong"])


def _describe_errors(errors: ImageErrors, n: int) -> list[str]:
    """What is wrong in image number n, in a few words each."""
    found, missed, false = (int(some[n]) for some in errors[:3])
    kinds, said = errors.kinds[n], []
    if missed:
        said.append(f"{missed} of {found + missed} people missed")
    if false:
        said.append(f"{false} false {'person' if false == 1 else 'people'}")
    if found and errors.lost[n] > 0:
        said.append(f"OKS of those found {1 - errors.lost[n] / found:.2f}")
    wrong = [f"{kinds[k]} {k.name.lower()}" for k in ErrorType if k != ErrorType.GOOD and kinds[k]]
    return [*said, f"of {kinds.sum()} keypoints {', '.join(wrong)}"] if wrong else said
