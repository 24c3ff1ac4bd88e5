"""This file shows single images: what is wrong in them, in words and in pictures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagpose.evaluation.truth import Truth
from tagpose.report.errors import Kind
from tagpose.report.images import ImageErrors, largest
from tagpose.report.pictures import Picture, Pictures
from tagpose.report.run import Run


class Verdict(NamedTuple):
    """What is wrong with the result of one run in an image."""

    run: str
    faults: Sequence[str]


class Card(NamedTuple):
    """One image."""

    title: str
    verdicts: Sequence[Verdict]
    pictures: Sequence[Picture]


def worst_cards(run: Run, truth: Truth, count: int, pictures: Pictures | None) -> list[Card]:
    """The images in which most is lost, the worst first; none in which nothing is.

    Args:
        run: whose errors are meant.
        truth: of all images.
        count: of images at most.
        pictures: draws them; without, cards have words alone.
    """
    cards = []
    for n in largest(run.errors.loss, count):
        title = f"image {truth.image_ids[n]}"
        cards.append(Card(title, [_verdict(run, n)], _drawn(n, [run], pictures)))
    return cards


def changed_cards(
    one: Run, other: Run, truth: Truth, count: int, pictures: Pictures | None
) -> list[Card]:
    """The images in which two runs differ most; arguments are those of `worst_cards`."""
    gain = other.errors.loss - one.errors.loss
    cards = []
    for n in largest(np.abs(gain), count):
        better = one.name if gain[n] > 0 else other.name
        title = f"image {truth.image_ids[n]}: {better} is better by {abs(gain[n]):.2f}"
        verdicts = [_verdict(run, n) for run in (one, other)]
        cards.append(Card(title, verdicts, _drawn(n, [one, other], pictures)))
    return cards


def _drawn(n: int, runs: Sequence[Run], pictures: Pictures | None) -> list[Picture]:
    """The truth of image number n and what each run found."""
    if pictures is None:
        return []
    return [pictures.of_truth(n, runs[0]), *(pictures.of_run(n, run) for run in runs)]


def _verdict(run: Run, n: int) -> Verdict:
    """What is wrong in image number n."""
    return Verdict(run.name, _faults(run.errors, n) or ["nothing wrong"])


def _faults(errors: ImageErrors, n: int) -> list[str]:
    """What is wrong in image number n, in a few words each."""
    found, missed, false = (int(some[n]) for some in errors[:3])
    kinds, said = errors.kinds[n], []
    if missed:
        said.append(f"{missed} of {found + missed} people missed")
    if false:
        said.append(f"{false} false {'person' if false == 1 else 'people'}")
    if found and errors.lost[n] > 0:
        said.append(f"OKS of those found {1 - errors.lost[n] / found:.2f}")
    wrong = [f"{kinds[k]} {k.name.lower()}" for k in Kind if k != Kind.GOOD and kinds[k]]
    return [*said, f"of {kinds.sum()} keypoints {', '.join(wrong)}"] if wrong else said
