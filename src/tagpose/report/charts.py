"""Charts of the report: precision-recall curves and bars of error types."""

from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tagpose.evaluation.keypoint_ap import OKS_75_INDEX, RECALL_THRESHOLDS, PrecisionRecallCurves
from tagpose.evaluation.matching import OKS_THRESHOLDS
from tagpose.evaluation.score_tables import part_titles
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.image_cards import EmbeddedImage, embed_svg
from tagpose.report.keypoint_errors import ErrorType, count_error_types, has_flip_pairs
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.skeleton_colors import part_print_colors

_MAX_SHORT_NAME: Final = 14  # characters; longer names have a full line of the legend
_PR_CURVE_INCHES: Final = (4.2, 3.8)  # of a figure of precision-recall curves
_COMPARISON_COLOR: Final = "#94a3b8"  # of the second run
_SIZE: Final = tuple(round(96 * inches) for inches in _PR_CURVE_INCHES)  # CSS pixels


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


class StyledCurve(NamedTuple):
    """Precision-recall curve with a line style; the mean of its precision is an AP."""

    name: str
    recall: np.ndarray  # [R] ascending
    precision: np.ndarray  # [R]
    style: str  # line style of matplotlib


def draw_pr_curves(runs: Sequence[AnalyzedResults], skeleton: Skeleton) -> list[EmbeddedImage]:
    """Draw one figure with the curves of all runs for each part that occurs in the ground truth."""
    colors, figures = part_print_colors(skeleton), []
    for part, name in part_titles(runs[0].scores).items():
        part_curves = {run.name: run.curves[part]["all"] for run in runs if part in run.curves}
        if part_curves and runs[0].scores[part].ap >= 0:
            lines = {run: make_pr_curves(curves) for run, curves in part_curves.items()}
            figure = _render_pr_curves(lines, [colors[part], _COMPARISON_COLOR])
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


# A fixed salt makes the file reproducible; dollar signs in names do not start formulas.
@mpl.rc_context({"svg.hashsalt": "tagpose", "text.parse_math": False})
def _render_pr_curves(lines: Mapping[str, list[StyledCurve]], colors: Sequence[str]) -> bytes:
    """Return an SVG file with the curves of each run in a color.

    Args:
        lines: curves by name of the run; the area under the last one is filled if there is one run.
        colors: color of each run.
    """
    figure = Figure(figsize=_PR_CURVE_INCHES, layout="constrained")
    axes = figure.subplots()
    for (run, curves), color in zip(lines.items(), colors, strict=False):
        _plot_precision_recall(axes, curves, color, suffix=f", {run}" if len(lines) > 1 else "")
    if len(lines) == 1:
        (curves,) = lines.values()
        axes.fill_between(
            curves[-1].recall, curves[-1].precision, color=colors[0], alpha=0.12, linewidth=0
        )
    _format_precision_recall_axes(axes)
    columns = 1 if max(map(len, lines)) > _MAX_SHORT_NAME else 2
    figure.legend(
        loc="outside lower center",
        ncols=columns if len(lines) > 1 else len(curves),
        frameon=False,
        fontsize="small",
        handlelength=1.6,
        columnspacing=1.0,
    )
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _plot_precision_recall(
    axes: Axes, curves: Sequence[StyledCurve], color: str, suffix: str
) -> None:
    """Plot the curves of one run, with the AP and the suffix in their labels."""
    for curve in curves:
        axes.plot(
            curve.recall,
            curve.precision,
            curve.style,
            color=color,
            label=f"{curve.name}{suffix}: {curve.precision.mean():.3f}",
            linewidth=2.2 if curve.style == "-" else 1.3,
        )


def _format_precision_recall_axes(axes: Axes) -> None:
    """Set ranges, labels and grid."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.grid(visible=True, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def _describe_curves(lines: Mapping[str, list[StyledCurve]]) -> str:
    """List the AP of each curve."""
    return "; ".join(
        f"{run}, {curve.name}, AP {curve.precision.mean():.3f}"
        for run, curves in lines.items()
        for curve in curves
    )
