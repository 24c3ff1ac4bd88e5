"""This file lays side by side what levers bring and cost."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tagpose.evaluation.table import part_titles


class Trial(NamedTuple):
    """What came of one lever with one seed."""

    lever: str
    seed: int
    ap: Mapping[str, float]  # by part
    train_seconds: float  # of its own training; 0 where it has none
    test_seconds: float
    memory: float  # bytes, the most that a process of it held


def ablation_lines(trials: Sequence[Trial]) -> list[str]:
    """A table in Markdown: the first lever's AP, and how far the others are from it.

    Each number is the mean over the seeds that both have, with the standard deviation of the
    difference where there are several. Costs that nothing has are left out.

    Args:
        trials: the first one's lever is what the others are compared with.
    """
    levers = list(dict.fromkeys(trial.lever for trial in trials))
    first = {trial.seed: trial for trial in trials if trial.lever == levers[0]}
    titles = part_titles(trials[0].ap)
    lines = [
        "| lever | seeds | " + " | ".join(titles.values()) + " | training | test | memory |",
        "|---|---|" + "---|" * (len(titles) + 3),
    ]
    for lever in levers:
        own = [trial for trial in trials if trial.lever == lever and trial.seed in first]
        cells = [
            _cell([trial.ap[part] for trial in own], [first[trial.seed].ap[part] for trial in own])
            if lever != levers[0]
            else f"{np.mean([trial.ap[part] for trial in own]):.3f}"
            for part in titles
        ]
        minutes = np.mean([trial.train_seconds for trial in own]) / 60
        seconds = np.mean([trial.test_seconds for trial in own])
        memory = max(trial.memory for trial in own) / 1e9
        costs = [f"{minutes:.1f} min" if minutes else "", f"{seconds:.0f} s", f"{memory:.1f} GB"]
        lines.append(f"| {lever} | {len(own)} | " + " | ".join([*cells, *costs]) + " |")
    return lines


def _cell(here: Sequence[float], there: Sequence[float]) -> str:
    """How far apart two levers are over the same seeds."""
    apart = np.subtract(here, there)
    spread = f" ± {apart.std(ddof=1):.3f}" if len(apart) > 1 else ""
    return f"{apart.mean():+.3f}{spread}"
