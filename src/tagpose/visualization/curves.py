"""This file draws the curves of a run: losses and scores over its steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Curve(NamedTuple):
    """One number of a run as it went."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]  # one per step; NaN leaves a hole


def draw_curves(
    losses: Sequence[Curve], scores: Sequence[Curve], *, title: str, path: Path
) -> None:
    """Write a PNG with losses on a logarithmic scale, and beside them scores from 0 to 1.

    Args:
        losses: may be empty; a loss of 0 or below leaves a hole.
        scores: may be empty; AP per part.
        title: over both panels.
        path: of the PNG; folders on the way are made.

    Raises:
        ValueError: a curve has not as many values as steps.
    """
    # The object interface, because pyplot would keep every figure of a long run.
    figure = Figure(figsize=(12, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)  # a dollar in a name is no formula
    left, right = figure.subplots(1, 2)
    _draw_panel(left, losses, "loss")
    left.set_yscale("log", nonpositive="mask")
    _draw_panel(right, scores, "AP")
    right.set_ylim(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _draw_panel(axes: Axes, curves: Sequence[Curve], label: str) -> None:
    """Curves in one panel, with dots where they are short enough to tell the steps apart."""
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
