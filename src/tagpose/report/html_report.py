"""This file makes a page on a result file: one HTML file that needs no other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tagpose.evaluation.detections import MAX_DETECTIONS
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.io import atomic_write
from tagpose.provenance import fingerprint
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.embedded_images import EmbeddedImage, ImageRenderer
from tagpose.report.figures import ERROR_DESCRIPTIONS, Bar, draw_pr_curves, error_bars
from tagpose.report.image_cards import ImageCard, changed_cards, worst_cards
from tagpose.report.person_matches import CORRECT_OKS, MATCH_OKS
from tagpose.report.text_tables import (
    TextTable,
    comparison_table,
    describe_score_limit,
    error_table,
    headline,
    people_table,
    score_text_table,
    size_table,
)
from tagpose.skeletons.skeleton import Skeleton

_TEMPLATE: Final = "report.html.jinja"  # beside this file, with its style sheet


class SourceFile(NamedTuple):
    """A file that the page is made from."""

    name: str
    file: str
    sha256: str


class Comparison(NamedTuple):
    """A second run beside the first."""

    run: str
    counted: str  # whom counts, bars and pictures are of
    scores: TextTable
    curves: Sequence[EmbeddedImage]
    bars: Sequence[Bar]
    people: TextTable
    errors: TextTable
    changed: Sequence[ImageCard]


class ReportContent(NamedTuple):
    """All that the page says."""

    run: str
    sources: Sequence[SourceFile]
    headline: Sequence[tuple[str, str]]  # what, and how much
    counted: str  # whom counts, bars and pictures are of
    scores: TextTable
    sizes: TextTable
    curves: Sequence[EmbeddedImage]
    meanings: Sequence[tuple[str, str]]  # of the kinds of errors
    bars: Sequence[Bar]
    errors: TextTable
    people: TextTable
    least: float  # OKS of who counts as found
    right: float  # OKS of who counts as right where scores are weighed
    best: int  # found people of an image that take part
    worst: Sequence[ImageCard]
    has_pictures: bool
    comparison: Comparison | None


def build_report(
    runs: Sequence[AnalyzedResults],
    ground_truth_file: Path,
    ground_truth: GroundTruth,
    skeleton: Skeleton,
    *,
    num_worst_images: int = 12,
    pictures: ImageRenderer | None = None,
) -> ReportContent:
    """Find the words and pictures of the page.

    Args:
        runs: the one that the page is on, and a second one where two are compared.
        ground_truth_file: that the ground truth was read from.
        ground_truth: that the runs were held against.
        skeleton: of all of them.
        num_worst_images: how many images are shown at most, and how many of those that changed most.
        pictures: draws images; without, the page has words alone.
    """
    run, *others = runs
    files = {"ground_truth": ground_truth_file} | {some.name: some.file for some in runs}
    return ReportContent(
        run=run.name,
        sources=[SourceFile(name, *fingerprint(file).values()) for name, file in files.items()],
        headline=headline(run, ground_truth, skeleton),
        counted=describe_score_limit(run),
        scores=score_text_table(run.scores),
        sizes=size_table(run, ground_truth, skeleton),
        curves=draw_pr_curves([run], skeleton),
        meanings=[(kind.name.lower(), meaning) for kind, meaning in ERROR_DESCRIPTIONS.items()],
        bars=error_bars([run], skeleton),
        errors=error_table(run, skeleton),
        people=people_table(run, ground_truth),
        least=MATCH_OKS,
        right=CORRECT_OKS,
        best=MAX_DETECTIONS,
        worst=worst_cards(run, ground_truth, num_worst_images, pictures),
        has_pictures=pictures is not None,
        comparison=_compare(run, others[0], ground_truth, skeleton, num_worst_images, pictures)
        if others
        else None,
    )


def write_report(file: Path, page: ReportContent) -> None:
    """Write the page as HTML, whole or not at all."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(_TEMPLATE).render(page=page)
    with atomic_write(file) as partial:
        partial.write_text(html, encoding="utf-8")


def _compare(
    run: AnalyzedResults,
    other: AnalyzedResults,
    ground_truth: GroundTruth,
    skeleton: Skeleton,
    count: int,
    pictures: ImageRenderer | None,
) -> Comparison:
    """The part of the page on two runs."""
    return Comparison(
        run=other.name,
        counted=describe_score_limit(other),
        scores=comparison_table(run, other),
        curves=draw_pr_curves([run, other], skeleton),
        bars=error_bars([run, other], skeleton),
        people=people_table(other, ground_truth),
        errors=error_table(other, skeleton),
        changed=changed_cards(run, other, ground_truth, count, pictures),
    )
