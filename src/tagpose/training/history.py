"""This file reads back what a run logged, draws it, and logs for runs without Lightning."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tagpose.io import atomic_write
from tagpose.visualization.curves import Curve, draw_curves


def read_history(file: Path) -> list[Curve]:
    """Every number of a run's metrics.csv, by name, over the steps at which it was logged."""
    steps: dict[str, list[float]] = defaultdict(list)
    values: dict[str, list[float]] = defaultdict(list)
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    steps[name].append(float(row["step"]))
                    values[name].append(float(value))
    return [Curve(name, steps[name], values[name]) for name in sorted(steps)]


def write_history(run: Path, numbers: Mapping[str, float]) -> None:
    """Write the numbers of a run that has one step alone into its metrics.csv."""
    with atomic_write(run / "metrics.csv") as partial, partial.open("w", newline="") as lines:
        csv.writer(lines).writerows([("step", *numbers), (0, *numbers.values())])


def best_value(run: Path, metric: str, *, maximize: bool) -> float:
    """The best that a run logged of a metric; NaN where it logged no finite number."""
    file = run / "metrics.csv"
    curves = read_history(file) if file.exists() else []
    logged = [v for curve in curves if curve.name == metric for v in curve.values]
    finite = filter(math.isfinite, logged)
    return max(finite, default=math.nan) if maximize else min(finite, default=math.nan)


def draw_history(run: Path, title: str) -> None:
    """Draw losses and AP of a run's metrics.csv into its curves.png, where it has one."""
    file = run / "metrics.csv"
    if not file.exists():
        return
    history = read_history(file)
    scores = [curve for curve in history if curve.name.startswith("val/ap/")]
    draw_curves(
        [curve for curve in history if "/loss/" in curve.name],
        [curve._replace(name=curve.name.removeprefix("val/ap/")) for curve in scores],
        title=title,
        path=run / "curves.png",
    )
