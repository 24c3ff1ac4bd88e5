"""Tables of scores: AP per part, comparison with published results, and ablations."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from rich.table import Table

from tagpose.evaluation.keypoint_ap import PartScores
from tagpose.evaluation.published_results import PublishedDifference

# in the order of the published tables
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


class VariantResult(NamedTuple):
    """Result of one ablation variant with one seed."""

    variant: str
    seed: int
    ap: Mapping[str, float]  # by part
    train_seconds: float  # 0 for a variant that is not trained
    test_seconds: float
    memory: float  # peak memory of a process, bytes


def part_titles(parts: Iterable[str]) -> dict[str, str]:
    """Return the titles of parts by name, in table order; parts of custom skeletons come last."""
    names = list(parts)
    known = {part: title for part, title in _PART_TITLES.items() if part in names}
    return known | {part: part for part in names if part not in known}


def score_table(scores: Mapping[str, PartScores], title: str) -> Table:
    """Return a table of AP, AP50, AP75 and AR per part; "-" without any ground truth."""
    table = Table("part", title=title)
    for column in _METRIC_TITLES.values():
        table.add_column(column, justify="right")
    for part, part_title in part_titles(scores).items():
        values = [getattr(scores[part], metric) for metric in _METRIC_TITLES]
        table.add_row(part_title, *("-" if value < 0 else f"{value:.3f}" for value in values))
    return table


def comparison_table(differences: Sequence[PublishedDifference], title: str) -> Table:
    """Return a table of published and measured numbers and their differences."""
    table = Table("part", "", title=title)
    for column in ("published", "measured", "difference"):
        table.add_column(column, justify="right")
    for part, metric, published, measured in differences:
        values = f"{published:.3f}", f"{measured:.3f}", f"{measured - published:+.3f}"
        table.add_row(_PART_TITLES[part], metric.upper(), *values)
    return table


def scores_to_dict(scores: Mapping[str, PartScores]) -> dict[str, dict[str, float]]:
    """Return all numbers by part, for JSON."""
    return {part: part_scores._asdict() for part, part_scores in scores.items()}


def read_scores(file: Path, table: str = "parts") -> dict[str, PartScores]:
    """Return the scores by part in a metrics.json, from one of its tables."""
    parts = json.loads(file.read_bytes())[table]
    return {part: PartScores(**scores) for part, scores in parts.items()}


def ablation_table(trials: Sequence[VariantResult]) -> list[str]:
    """Return the lines of a Markdown table: the baseline's AP, and each variant's difference.

    Differences are means over the seeds that a variant shares with the baseline, with their
    standard deviation if there are several. The training time of untrained variants is empty.

    Args:
        trials: results; the variant of the first one is the baseline.
    """
    variants = list(dict.fromkeys(trial.variant for trial in trials))
    baseline = {trial.seed: trial for trial in trials if trial.variant == variants[0]}
    titles = part_titles(trials[0].ap)
    lines = [
        "| variant | seeds | " + " | ".join(titles.values()) + " | training | test | memory |",
        "|---|---|" + "---|" * (len(titles) + 3),
    ]
    for variant in variants:
        paired = [trial for trial in trials if trial.variant == variant and trial.seed in baseline]
        cells = [
            _difference_cell(
                [trial.ap[part] for trial in paired],
                [baseline[trial.seed].ap[part] for trial in paired],
            )
            if variant != variants[0]
            else f"{np.mean([trial.ap[part] for trial in paired]):.3f}"
            for part in titles
        ]
        row = [variant, str(len(paired)), *cells, *_cost_cells(paired)]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def _difference_cell(variant_ap: Sequence[float], baseline_ap: Sequence[float]) -> str:
    """Return the mean difference of two variants over the same seeds."""
    differences = np.subtract(variant_ap, baseline_ap)
    spread = f" ± {differences.std(ddof=1):.3f}" if len(differences) > 1 else ""
    return f"{differences.mean():+.3f}{spread}"


def _cost_cells(trials: Sequence[VariantResult]) -> list[str]:
    """Return training time, test time and memory of a variant."""
    minutes = np.mean([trial.train_seconds for trial in trials]) / 60
    seconds = np.mean([trial.test_seconds for trial in trials])
    memory = max(trial.memory for trial in trials) / 1e9
    return [f"{minutes:.1f} min" if minutes else "", f"{seconds:.0f} s", f"{memory:.1f} GB"]
