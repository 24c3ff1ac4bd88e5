"""Logged metrics of a run (`metrics.csv`): reading, writing and drawing them."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tagpose.io import atomic_write
from tagpose.visualization.learning_curves import Curve, draw_curves


def read_history(file: Path) -> list[Curve]:
    """Read a metrics.csv as one curve per metric over the steps at which it was logged."""
    steps: dict[str, list[float]] = defaultdict(list)
    values: dict[str, list[float]] = defaultdict(list)
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    steps[name].append(float(row["step"]))
                    values[name].append(float(value))
    return [Curve(name, steps[name], values[name]) for name in sorted(steps)]


def write_history(run: Path, metrics: Mapping[str, float]) -> None:
    """Write the metrics.csv of a run with a single step."""
    with atomic_write(run / "metrics.csv") as partial, partial.open("w", newline="") as stream:
        csv.writer(stream).writerows([("step", *metrics), (0, *metrics.values())])


def best_logged_value(run: Path, metric: str, *, maximize: bool) -> float:
    """Return the best finite value that a run logged of a metric, or NaN if there is none."""
    file = run / "metrics.csv"
    curves = read_history(file) if file.exists() else []
    logged = [v for curve in curves if curve.name == metric for v in curve.values]
    finite = filter(math.isfinite, logged)
    return max(finite, default=math.nan) if maximize else min(finite, default=math.nan)


def draw_history(run: Path, title: str) -> None:
    """Draw losses and AP of a run's metrics.csv as curves.png; do nothing if it is missing."""
    file = run / "metrics.csv"
    if not file.exists():
        return
    history = read_history(file)
    ap_curves = [curve for curve in history if curve.name.startswith("val/ap/")]
    draw_curves(
        [curve for curve in history if "/loss/" in curve.name],
        [curve._replace(name=curve.name.removeprefix("val/ap/")) for curve in ap_curves],
        title=title,
        path=run / "curves.png",
    )
