"""This file makes a page on a result file: one HTML file that needs no other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tagpose.evaluation.detections import MAX_DETECTIONS
from tagpose.evaluation.provenance import fingerprint
from tagpose.evaluation.truth import Truth
from tagpose.report.bars import MEANINGS, Bar, error_bars
from tagpose.report.cards import Card, changed_cards, worst_cards
from tagpose.report.curves import precision_figures
from tagpose.report.matches import LEAST, RIGHT
from tagpose.report.pictures import Picture, Pictures
from tagpose.report.run import Run
from tagpose.report.tables import (
    Grid,
    difference_grid,
    error_grid,
    headline,
    people_grid,
    score_grid,
    size_grid,
    whom_counted,
)
from tagpose.skeleton import Skeleton
from tagpose.writing import whole

_TEMPLATE: Final = "report.html.jinja"  # beside this file, with its style sheet


class Source(NamedTuple):
    """A file that the page is made from."""

    name: str
    file: str
    sha256: str


class Comparison(NamedTuple):
    """A second run beside the first."""

    run: str
    counted: str  # whom counts, bars and pictures are of
    scores: Grid
    curves: Sequence[Picture]
    bars: Sequence[Bar]
    people: Grid
    errors: Grid
    changed: Sequence[Card]


class Page(NamedTuple):
    """All that the page says."""

    run: str
    sources: Sequence[Source]
    headline: Sequence[tuple[str, str]]  # what, and how much
    counted: str  # whom counts, bars and pictures are of
    scores: Grid
    sizes: Grid
    curves: Sequence[Picture]
    meanings: Sequence[tuple[str, str]]  # of the kinds of errors
    bars: Sequence[Bar]
    errors: Grid
    people: Grid
    least: float  # OKS of who counts as found
    right: float  # OKS of who counts as right where scores are weighed
    best: int  # found people of an image that take part
    worst: Sequence[Card]
    has_pictures: bool
    comparison: Comparison | None


def make_page(
    runs: Sequence[Run],
    truth_file: Path,
    truth: Truth,
    skeleton: Skeleton,
    *,
    worst: int = 12,
    pictures: Pictures | None = None,
) -> Page:
    """Find the words and pictures of the page.

    Args:
        runs: the one that the page is on, and a second one where two are compared.
        truth_file: that the truth was read from.
        truth: that the runs were held against.
        skeleton: of all of them.
        worst: how many images are shown at most, and how many of those that changed most.
        pictures: draws images; without, the page has words alone.
    """
    run, *others = runs
    files = {"truth": truth_file} | {some.name: some.file for some in runs}
    return Page(
        run=run.name,
        sources=[Source(name, *fingerprint(file).values()) for name, file in files.items()],
        headline=headline(run, truth, skeleton),
        counted=whom_counted(run),
        scores=score_grid(run.scores),
        sizes=size_grid(run, truth, skeleton),
        curves=precision_figures([run], skeleton),
        meanings=[(kind.name.lower(), meaning) for kind, meaning in MEANINGS.items()],
        bars=error_bars([run], skeleton),
        errors=error_grid(run, skeleton),
        people=people_grid(run, truth),
        least=LEAST,
        right=RIGHT,
        best=MAX_DETECTIONS,
        worst=worst_cards(run, truth, worst, pictures),
        has_pictures=pictures is not None,
        comparison=_compared(run, others[0], truth, skeleton, worst, pictures) if others else None,
    )


def write_page(file: Path, page: Page) -> None:
    """Write the page as HTML, whole or not at all."""
    surroundings = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = surroundings.get_template(_TEMPLATE).render(page=page)
    with whole(file) as partial:
        partial.write_text(html, encoding="utf-8")


def _compared(
    run: Run, other: Run, truth: Truth, skeleton: Skeleton, count: int, pictures: Pictures | None
) -> Comparison:
    """The part of the page on two runs."""
    return Comparison(
        run=other.name,
        counted=whom_counted(other),
        scores=difference_grid(run, other),
        curves=precision_figures([run, other], skeleton),
        bars=error_bars([run, other], skeleton),
        people=people_grid(other, truth),
        errors=error_grid(other, skeleton),
        changed=changed_cards(run, other, truth, count, pictures),
    )
