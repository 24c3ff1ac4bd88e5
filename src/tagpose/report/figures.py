"""This file draws precision over recall, one figure for each part."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tagpose.evaluation.keypoint_ap import OKS_75_INDEX
from tagpose.evaluation.matching import OKS_THRESHOLDS
from tagpose.evaluation.precision_recall import RECALL_THRESHOLDS, PrecisionRecallCurves
from tagpose.evaluation.score_tables import part_titles
from tagpose.report.analysis import AnalyzedResults
from tagpose.report.embedded_images import EmbeddedImage, embed_svg
from tagpose.report.keypoint_errors import (
    GOOD_SIMILARITY,
    NEAR_SIMILARITY,
    ErrorType,
    count_error_types,
    has_flip_pairs,
)
from tagpose.skeletons.skeleton import Skeleton
from tagpose.visualization.palette import part_color

# MERGED: """This file shows the kinds of errors as bars, the whole of a bar being all keypoints of a part."""
# MERGED: """This file says in which color a part is printed on white paper."""
_INCHES: Final = (4.2, 3.8)
_SIZE: Final = tuple(round(96 * inches) for inches in _INCHES)  # pixels, as CSS counts them
_MAX_SHORT_NAME: Final = 14  # letters of a name that has a line of the legend for itself


class PRCurve(NamedTuple):
    """A curve of a figure; the mean of its precision is an AP."""

    name: str
    precision: np.ndarray  # [101] at RECALL_THRESHOLDS
    style: str


def pr_curves(curves: PrecisionRecallCurves) -> list[PRCurve]:
    """What is drawn of a part: two thresholds, and the mean over all ten."""
    every = curves.precision
    return [
        PRCurve(f"OKS {OKS_THRESHOLDS[0]:g}", every[0], ":"),
        PRCurve(f"OKS {OKS_THRESHOLDS[OKS_75_INDEX]:g}", every[OKS_75_INDEX], "--"),
        PRCurve("mean of ten", every.mean(0), "-"),
    ]


def draw_pr_curves(runs: list[AnalyzedResults], skeleton: Skeleton) -> list[EmbeddedImage]:
    """A figure for each part in which anybody is to be found; those of several runs in one."""
    colors, pictures = part_print_colors(skeleton), []
    for part, name in part_titles(runs[0].scores).items():
        some = {run.name: run.curves[part]["all"] for run in runs if part in run.curves}
        if some and runs[0].scores[part].ap >= 0:
            lines = {run: pr_curves(curves) for run, curves in some.items()}
            # the same numbers are the same file; names are no formulas
            with mpl.rc_context({"svg.hashsalt": "tagpose", "text.parse_math": False}):
                drawn = embed_svg(_draw(lines, [colors[part], COMPARISON_COLOR]))
            words = f"precision over recall, {name}: {_alt_text(lines)}"
            pictures.append(EmbeddedImage(drawn, words, name, *_SIZE))
    return pictures


def _alt_text(lines: Mapping[str, list[PRCurve]]) -> str:
    """The AP of each curve."""
    return "; ".join(
        f"{run}, {line.name}, AP {line.precision.mean():.3f}"
        for run, drawn in lines.items()
        for line in drawn
    )


def _draw(lines: Mapping[str, list[PRCurve]], colors: list[str]) -> bytes:
    """An SVG with the curves of each run in its ink."""
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    for (run, drawn), color in zip(lines.items(), colors, strict=False):
        of_run = f", {run}" if len(lines) > 1 else ""
        for line in drawn:
            label = f"{line.name}{of_run}: {line.precision.mean():.3f}"
            width = 2.2 if line.style == "-" else 1.3
            axes.plot(
                RECALL_THRESHOLDS,
                line.precision,
                line.style,
                color=color,
                label=label,
                linewidth=width,
            )
    if len(lines) == 1:
        axes.fill_between(
            RECALL_THRESHOLDS, drawn[-1].precision, color=colors[0], alpha=0.12, linewidth=0
        )
    _format_axes(axes)
    # names of files may be long
    columns = 1 if max(map(len, lines)) > _MAX_SHORT_NAME else 2
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


def _format_axes(axes: Axes) -> None:
    """Axes from 0 to 1 and a faint grid."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.grid(visible=True, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)


ERROR_DESCRIPTIONS: Final = {
    ErrorType.GOOD: f"as near to its own place as people label it: similarity {GOOD_SIMILARITY:g} or more",
    ErrorType.JITTER: f"near its own place, but not as near as that: similarity {NEAR_SIMILARITY:g} to {GOOD_SIMILARITY:g}",
    ErrorType.INVERSION: "nearest to its left/right counterpart on the same person, left for right",
    ErrorType.SWAP: "nearest to this keypoint, or to its left/right counterpart, on somebody else",
    ErrorType.MISS: f"near none of these places: similarity below {NEAR_SIMILARITY:g} to all of them",
}


class Segment(NamedTuple):
    """A piece of a bar."""

    kind: str
    share: float  # of the bar, 0 to 1


class Bar(NamedTuple):
    """The keypoints of one part."""

    name: str
    color: str  # color of the part
    run: str  # whose bar it is
    segments: Sequence[Segment]

    @property
    def alt_text(self) -> str:
        """What the bar shows, for those who don't see it."""
        return ", ".join(f"{kind} {share:.1%}" for kind, share in self.segments)


def error_bars(runs: Sequence[AnalyzedResults], skeleton: Skeleton) -> list[Bar]:
    """The bars of all parts, those of several runs one below the other."""
    tallies, colors = (
        [count_error_types(run.kinds, skeleton) for run in runs],
        part_print_colors(skeleton),
    )
    bars = []
    for part, name in part_titles(runs[0].scores).items():
        for run, counts in zip(runs, tallies, strict=True):
            if part in counts and counts[part].any():
                shares = counts[part] / counts[part].sum()
                segments = [Segment(kind.name.lower(), float(shares[kind])) for kind in ErrorType]
                if not has_flip_pairs(part, skeleton):
                    del segments[ErrorType.INVERSION]
                bars.append(Bar(name, colors[part], run.name, segments))
    return bars


ALL_PARTS_COLOR: Final = "#334155"  # all parts together, which have no color on pictures
COMPARISON_COLOR: Final = "#94a3b8"  # the file that is compared with
_GAMMA: Final = 2.2  # of sRGB, nearly
_LUMINANCE_WEIGHTS: Final = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue (sRGB)
# relative luminance; white has three times the contrast to it that WCAG 2 asks of graphics
_MAX_LUMINANCE: Final = 0.3


def part_print_colors(skeleton: Skeleton) -> dict[str, str]:
    """A color as #rrggbb for each part: that of the pictures, darker where it is light."""
    inks = {part: _darken(part_color(skeleton, part)) for part in skeleton.disjoint_parts}
    return {part: inks.get(part, ALL_PARTS_COLOR) for part in skeleton.parts}


def _darken(color: tuple[int, int, int]) -> str:
    """The color with the luminance that can be seen on white."""
    linear = (np.array(color) / 255) ** _GAMMA
    linear *= min(1.0, _MAX_LUMINANCE / (linear @ _LUMINANCE_WEIGHTS))
    red, green, blue = np.rint(255 * linear ** (1 / _GAMMA)).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
