"""Self-contained HTML report on one result file, or a comparison of two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tagpose.evaluation.detections import MAX_DETECTIONS
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.io import atomic_write
from tagpose.provenance import fingerprint
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.charts import StackedBar, draw_pr_curves, make_error_type_bars
from tagpose.report.image_cards import (
    EmbeddedImage,
    ImageCard,
    ImageRenderer,
    changed_cards,
    worst_cards,
)
from tagpose.report.keypoint_errors import (
    GOOD_SIMILARITY,
    NEAR_SIMILARITY,
    ErrorType,
)
from tagpose.report.person_matches import CORRECT_OKS, MATCH_OKS
from tagpose.report.result_tables import (
    TextTable,
    describe_score_limit,
    error_table,
    headline,
    people_table,
    run_comparison_table,
    score_text_table,
    size_table,
)
from tagpose.skeletons.skeleton import Skeleton

_TEMPLATE: Final = "report.html.jinja"  # in the folder of this module; it includes report.css
ERROR_DESCRIPTIONS: Final = {
    ErrorType.GOOD: f"the correct keypoint, within human variation: similarity {GOOD_SIMILARITY:g} "
    "or more",
    ErrorType.JITTER: f"the correct keypoint, less precisely: similarity {NEAR_SIMILARITY:g} to "
    f"{GOOD_SIMILARITY:g}",
    ErrorType.INVERSION: "the left/right counterpart on the same person",
    ErrorType.SWAP: "the same keypoint, or its left/right counterpart, on another person",
    ErrorType.MISS: f"none of these: all similarities are below {NEAR_SIMILARITY:g}",
}


class SourceFile(NamedTuple):
    """Input file of the report."""

    name: str
    file: str
    sha256: str


class Comparison(NamedTuple):
    """Comparison of the report's run with a second one."""

    run: str  # name of the second run
    score_limit: str  # which of its predictions are analyzed
    scores: TextTable
    curves: Sequence[EmbeddedImage]
    bars: Sequence[StackedBar]
    people: TextTable
    errors: TextTable
    changed: Sequence[ImageCard]


class ReportContent(NamedTuple):
    """Texts, tables and images of the report."""

    run: str
    sources: Sequence[SourceFile]
    headline: Sequence[tuple[str, str]]  # name, value
    score_limit: str  # which predictions are analyzed
    scores: TextTable
    sizes: TextTable
    curves: Sequence[EmbeddedImage]
    error_descriptions: Sequence[tuple[str, str]]  # name, description
    bars: Sequence[StackedBar]
    errors: TextTable
    people: TextTable
    match_oks: float
    correct_oks: float
    max_detections: int  # per image
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
    """Collect the content of the report.

    Args:
        runs: the run of the report, and optionally a second one to compare it with.
        ground_truth_file: annotation file of the ground truth.
        ground_truth: ground truth that the runs were compared with.
        skeleton: skeleton of runs and ground truth.
        num_worst_images: maximum number of worst images, and of images that differ most.
        pictures: renderer of images; None omits all images.
    """
    run, *others = runs
    files = [("ground truth", ground_truth_file), *((run.name, run.file) for run in runs)]
    return ReportContent(
        run=run.name,
        sources=[SourceFile(name, *fingerprint(file).values()) for name, file in files],
        headline=headline(run, ground_truth, skeleton),
        score_limit=describe_score_limit(run),
        scores=score_text_table(run.scores),
        sizes=size_table(run, ground_truth, skeleton),
        curves=draw_pr_curves([run], skeleton),
        error_descriptions=[(kind.name.lower(), text) for kind, text in ERROR_DESCRIPTIONS.items()],
        bars=make_error_type_bars([run], skeleton),
        errors=error_table(run, skeleton),
        people=people_table(run, ground_truth),
        match_oks=MATCH_OKS,
        correct_oks=CORRECT_OKS,
        max_detections=MAX_DETECTIONS,
        worst=worst_cards(run, ground_truth, num_worst_images, pictures),
        has_pictures=pictures is not None,
        comparison=_compare(run, others[0], ground_truth, skeleton, num_worst_images, pictures)
        if others
        else None,
    )


def write_report(file: Path, page: ReportContent) -> None:
    """Write the report as HTML, atomically."""
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
    """Collect the content of the comparison of two runs."""
    return Comparison(
        run=other.name,
        score_limit=describe_score_limit(other),
        scores=run_comparison_table(run, other),
        curves=draw_pr_curves([run, other], skeleton),
        bars=make_error_type_bars([run, other], skeleton),
        people=people_table(other, ground_truth),
        errors=error_table(other, skeleton),
        changed=changed_cards(run, other, ground_truth, count, pictures),
    )
