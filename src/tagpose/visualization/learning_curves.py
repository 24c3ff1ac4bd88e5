"""Figures of a training run: losses and AP over the steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


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
