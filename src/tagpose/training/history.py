"""This file reads back what a run logged, and draws it."""

import csv
from collections import defaultdict
from pathlib import Path

from tagpose.drawing.curves import Curve, draw_curves


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
