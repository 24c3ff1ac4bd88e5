"""Figures of curves: losses and AP over the steps of a run, and precision over recall."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PR_CURVE_INCHES: Final = (4.2, 3.8)  # of a figure of precision-recall curves
_MAX_SHORT_NAME: Final = 14  # characters; longer names have a full line of the legend


class Curve(NamedTuple):
    """Values of one metric over the steps of a run."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]  # one per step; NaN leaves a gap


def draw_curves(
    losses: Sequence[Curve], scores: Sequence[Curve], *, title: str, path: Path
) -> None:
    """Write a PNG with a panel of losses (logarithmic) and a panel of scores from 0 to 1.

    Args:
        losses: loss curves, possibly none; a loss of 0 or below leaves a gap.
        scores: AP per part, possibly none.
        title: title above both panels.
        path: path of the PNG; missing parent folders are created.

    Raises:
        ValueError: a curve has different numbers of values and steps.
    """
    # The object-oriented interface, because pyplot would keep every figure of a long run in memory.
    figure = Figure(figsize=(12, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)  # a dollar sign in a name does not start a formula
    left, right = figure.subplots(1, 2)
    _draw_panel(left, losses, "loss")
    left.set_yscale("log", nonpositive="mask")
    _draw_panel(right, scores, "AP")
    right.set_ylim(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _draw_panel(axes: Axes, curves: Sequence[Curve], label: str) -> None:
    """Plot curves in one panel, with markers if there are few enough steps to tell them apart."""
    for curve in curves:
        marker = "o" if len(curve.steps) <= 30 else ""
        axes.plot(
            curve.steps, curve.values, label=curve.name, marker=marker, markersize=3, linewidth=1.5
        )
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    if curves:
        for text in axes.legend(frameon=False, fontsize="small").get_texts():
            text.set_parse_math(False)


class StyledCurve(NamedTuple):
    """Precision-recall curve with a line style; the mean of its precision is an AP."""

    name: str
    recall: np.ndarray  # [R] ascending
    precision: np.ndarray  # [R]
    style: str  # line style of matplotlib


def draw_precision_recall_curves(
    lines: Mapping[str, list[StyledCurve]], colors: Sequence[str]
) -> bytes:
    """Return an SVG file with the curves of each run in a color.

    Args:
        lines: curves by name of the run; the area under the last one is filled if there is one run.
        colors: color of each run.
    """
    # A fixed salt makes the file reproducible; dollar signs in names do not start formulas.
    with mpl.rc_context({"svg.hashsalt": "tagpose", "text.parse_math": False}):
        return _draw_precision_recall_curves(lines, colors)


def _draw_precision_recall_curves(
    lines: Mapping[str, list[StyledCurve]], colors: Sequence[str]
) -> bytes:
    figure = Figure(figsize=PR_CURVE_INCHES, layout="constrained")
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
