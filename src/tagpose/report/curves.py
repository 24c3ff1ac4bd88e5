"""This file draws precision over recall, one figure for each part."""

from collections.abc import Mapping
from io import BytesIO
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tagpose.evaluation.matching import THRESHOLDS
from tagpose.evaluation.part_ap import AT_75
from tagpose.evaluation.precision import RECALLS, Curves
from tagpose.evaluation.table import part_titles
from tagpose.report.inks import OTHER, part_inks
from tagpose.report.pictures import Picture, embed_svg
from tagpose.report.run import Run
from tagpose.skeleton import Skeleton

_INCHES: Final = (4.2, 3.8)
_SIZE: Final = tuple(round(96 * inches) for inches in _INCHES)  # pixels, as CSS counts them
_LONG: Final = 14  # letters of a name that has a line of the legend for itself


class Line(NamedTuple):
    """A curve of a figure; the mean of its precision is an AP."""

    name: str
    precision: np.ndarray  # [101] at RECALLS
    style: str


def lines_of(curves: Curves) -> list[Line]:
    """What is drawn of a part: two thresholds, and the mean over all ten."""
    every = curves.precision
    return [
        Line(f"OKS {THRESHOLDS[0]:g}", every[0], ":"),
        Line(f"OKS {THRESHOLDS[AT_75]:g}", every[AT_75], "--"),
        Line("mean of ten", every.mean(0), "-"),
    ]


def precision_figures(runs: list[Run], skeleton: Skeleton) -> list[Picture]:
    """A figure for each part in which anybody is to be found; those of several runs in one."""
    inks, pictures = part_inks(skeleton), []
    for part, name in part_titles(runs[0].scores).items():
        some = {run.name: run.curves[part]["all"] for run in runs if part in run.curves}
        if some and runs[0].scores[part].ap >= 0:
            lines = {run: lines_of(curves) for run, curves in some.items()}
            # the same numbers are the same file; names are no formulas
            with mpl.rc_context({"svg.hashsalt": "tagpose", "text.parse_math": False}):
                drawn = embed_svg(_draw(lines, [inks[part], OTHER]))
            words = f"precision over recall, {name}: {_words(lines)}"
            pictures.append(Picture(drawn, words, name, *_SIZE))
    return pictures


def _words(lines: Mapping[str, list[Line]]) -> str:
    """The AP of each curve."""
    return "; ".join(
        f"{run}, {line.name}, AP {line.precision.mean():.3f}"
        for run, drawn in lines.items()
        for line in drawn
    )


def _draw(lines: Mapping[str, list[Line]], inks: list[str]) -> bytes:
    """An SVG with the curves of each run in its ink."""
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    for (run, drawn), ink in zip(lines.items(), inks, strict=False):
        of_run = f", {run}" if len(lines) > 1 else ""
        for line in drawn:
            label = f"{line.name}{of_run}: {line.precision.mean():.3f}"
            width = 2.2 if line.style == "-" else 1.3
            axes.plot(RECALLS, line.precision, line.style, color=ink, label=label, linewidth=width)
    if len(lines) == 1:
        axes.fill_between(RECALLS, drawn[-1].precision, color=inks[0], alpha=0.12, linewidth=0)
    _frame(axes)
    # names of files may be long
    columns = 1 if max(map(len, lines)) > _LONG else 2
    figure.legend(
        loc="outside lower center",
        ncols=columns if len(lines) > 1 else len(drawn),
        frameon=False,
        fontsize="small",
        handlelength=1.6,
        columnspacing=1.0,
    )
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _frame(axes: Axes) -> None:
    """Axes from 0 to 1 and a faint grid."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.grid(visible=True, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
