"""This file shows scores to people and to programs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from rich.table import Table

from tagpose.evaluation.keypoint_ap import PartScores
from tagpose.evaluation.published_results import PublishedDifference

# MERGED: """This file lays side by side what variants bring and cost."""
# in the order of the papers' tables
_PART_TITLES: Final = {
    "body": "body",
    "foot": "foot",
    "face": "face",
    "lefthand": "left hand",
    "righthand": "right hand",
    "hand": "hand",
    "wholebody": "whole",
}
_METRIC_TITLES: Final = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR"}


def part_titles(parts: Iterable[str]) -> dict[str, str]:
    """What parts are called in tables, in their order there: the papers', then one's own."""
    there = list(parts)
    known = {part: name for part, name in _PART_TITLES.items() if part in there}
    return known | {part: part for part in there if part not in known}


def score_table(scores: Mapping[str, PartScores], title: str) -> Table:
    """One row per part, the four numbers that papers print; "-" where the ground truth has nobody."""
    result = Table("part", title=title)
    for column in _METRIC_TITLES.values():
        result.add_column(column, justify="right")
    for part, name in part_titles(scores).items():
        shown = [getattr(scores[part], number) for number in _METRIC_TITLES]
        result.add_row(name, *("-" if value < 0 else f"{value:.3f}" for value in shown))
    return result


def comparison_table(differences: Sequence[PublishedDifference], title: str) -> Table:
    """One row per part: what was published, what is ours, and how far apart the two are."""
    result = Table("part", "", title=title)
    for column in ("published", "ours", "difference"):
        result.add_column(column, justify="right")
    for part, number, published, ours in differences:
        shown = (f"{published:.3f}", f"{ours:.3f}", f"{ours - published:+.3f}")
        result.add_row(_PART_TITLES[part], number.upper(), *shown)
    return result


def scores_to_dict(scores: Mapping[str, PartScores]) -> dict[str, dict[str, float]]:
    """All numbers by part, for JSON."""
    return {part: some._asdict() for part, some in scores.items()}


class VariantResult(NamedTuple):
    """What came of one variant with one seed."""

    variant: str
    seed: int
    ap: Mapping[str, float]  # by part
    train_seconds: float  # of its own training; 0 where it has none
    test_seconds: float
    memory: float  # bytes, the most that a process of it held


def ablation_table(trials: Sequence[VariantResult]) -> list[str]:
    """A table in Markdown: the first variant's AP, and how far the others are from it.

    Each number is the mean over the seeds that both have, with the standard deviation of the
    difference where there are several. Costs that nothing has are left out.

    Args:
        trials: the first one's variant is what the others are compared with.
    """
    variants = list(dict.fromkeys(trial.variant for trial in trials))
    first = {trial.seed: trial for trial in trials if trial.variant == variants[0]}
    titles = part_titles(trials[0].ap)
    lines = [
        "| variant | seeds | " + " | ".join(titles.values()) + " | training | test | memory |",
        "|---|---|" + "---|" * (len(titles) + 3),
    ]
    for variant in variants:
        own = [trial for trial in trials if trial.variant == variant and trial.seed in first]
        cells = [
            _cell([trial.ap[part] for trial in own], [first[trial.seed].ap[part] for trial in own])
            if variant != variants[0]
            else f"{np.mean([trial.ap[part] for trial in own]):.3f}"
            for part in titles
        ]
        minutes = np.mean([trial.train_seconds for trial in own]) / 60
        seconds = np.mean([trial.test_seconds for trial in own])
        memory = max(trial.memory for trial in own) / 1e9
        costs = [f"{minutes:.1f} min" if minutes else "", f"{seconds:.0f} s", f"{memory:.1f} GB"]
        lines.append(f"| {variant} | {len(own)} | " + " | ".join([*cells, *costs]) + " |")
    return lines


def _cell(variant_ap: Sequence[float], baseline_ap: Sequence[float]) -> str:
    """How far apart two variants are over the same seeds."""
    differences = np.subtract(variant_ap, baseline_ap)
    spread = f" ± {differences.std(ddof=1):.3f}" if len(differences) > 1 else ""
    return f"{differences.mean():+.3f}{spread}"
