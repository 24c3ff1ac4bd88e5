"""Charts of the report: precision-recall curves and bars of error types."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from tagpose.evaluation.keypoint_ap import OKS_75_INDEX, RECALL_THRESHOLDS, PrecisionRecallCurves
from tagpose.evaluation.matching import OKS_THRESHOLDS
from tagpose.evaluation.score_tables import part_titles
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.image_cards import EmbeddedImage, embed_svg
from tagpose.report.keypoint_errors import ErrorType, count_error_types, has_flip_pairs
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.curves import PR_CURVE_INCHES, StyledCurve, draw_precision_recall_curves
from tagpose.visualization.skeleton_colors import part_print_colors

_COMPARISON_COLOR: Final = "#94a3b8"  # of the second run
_SIZE: Final = tuple(round(96 * inches) for inches in PR_CURVE_INCHES)  # CSS pixels


class BarSegment(NamedTuple):
    """Segment of a stacked bar."""

    error_type: str
    fraction: float  # of the bar, 0 to 1


class StackedBar(NamedTuple):
    """Fractions of the keypoints of one part by error type."""

    name: str  # of the part
    color: str  # of the part
    run: str
    segments: Sequence[BarSegment]

    @property
    def alt_text(self) -> str:
        """Text for screen readers."""
        return ", ".join(f"{name} {fraction:.1%}" for name, fraction in self.segments)


def draw_pr_curves(runs: Sequence[AnalyzedResults], skeleton: Skeleton) -> list[EmbeddedImage]:
    """Draw one figure with the curves of all runs for each part that occurs in the ground truth."""
    colors, figures = part_print_colors(skeleton), []
    for part, name in part_titles(runs[0].scores).items():
        part_curves = {run.name: run.curves[part]["all"] for run in runs if part in run.curves}
        if part_curves and runs[0].scores[part].ap >= 0:
            lines = {run: make_pr_curves(curves) for run, curves in part_curves.items()}
            figure = draw_precision_recall_curves(lines, [colors[part], _COMPARISON_COLOR])
            alt_text = f"precision-recall curves, {name}: {_describe_curves(lines)}"
            figures.append(EmbeddedImage(embed_svg(figure), alt_text, name, *_SIZE))
    return figures


def make_pr_curves(curves: PrecisionRecallCurves) -> list[StyledCurve]:
    """Return a part's curves at two OKS thresholds, and the mean over all ten thresholds."""
    precision, curve = curves.precision, partial(StyledCurve, recall=RECALL_THRESHOLDS)
    return [
        curve(f"OKS {OKS_THRESHOLDS[0]:g}", precision=precision[0], style=":"),
        curve(
            f"OKS {OKS_THRESHOLDS[OKS_75_INDEX]:g}", precision=precision[OKS_75_INDEX], style="--"
        ),
        curve("mean of ten", precision=precision.mean(0), style="-"),
    ]


def make_error_type_bars(runs: Sequence[AnalyzedResults], skeleton: Skeleton) -> list[StackedBar]:
    """Return a bar for each part and run, grouped by part."""
    counts_by_run = [count_error_types(run.error_types, skeleton) for run in runs]
    colors, bars = part_print_colors(skeleton), []
    for part, name in part_titles(runs[0].scores).items():
        for run, counts in zip(runs, counts_by_run, strict=True):
            if part in counts and counts[part].any():
                fractions = counts[part] / counts[part].sum()
                segments = [BarSegment(t.name.lower(), float(fractions[t])) for t in ErrorType]
                if not has_flip_pairs(part, skeleton):
                    del segments[ErrorType.INVERSION]
                bars.append(StackedBar(name, colors[part], run.name, segments))
    return bars


def _describe_curves(lines: Mapping[str, list[StyledCurve]]) -> str:
    """List the AP of each curve."""
    return "; ".join(
        f"{run}, {curve.name}, AP {curve.precision.mean():.3f}"
        for run, curves in lines.items()
        for curve in curves
    )
