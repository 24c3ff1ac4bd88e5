"""Table of the results of an ablation: each variant's difference from the baseline."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tagpose.evaluation.score_tables import part_titles


class VariantResult(NamedTuple):
    """Result of one ablation variant with one seed."""

    variant: str
    seed: int
    values: Mapping[str, float]  # by part: AP, or a share of keypoints
    train_seconds: float  # 0 for a variant that is not trained
    test_seconds: float
    memory: float  # peak memory of a process, bytes


def ablation_table(trials: Sequence[VariantResult]) -> list[str]:
    """Return the lines of a Markdown table: the baseline's values, and each variant's difference.

    Differences are means over the seeds that a variant shares with the baseline, with their
    standard deviation if there are several. The training time of untrained variants is empty.

    Args:
        trials: results; the variant of the first one is the baseline.
    """
    variants = list(dict.fromkeys(trial.variant for trial in trials))
    baseline = {trial.seed: trial for trial in trials if trial.variant == variants[0]}
    titles = part_titles(trials[0].values)
    lines = [
        "| variant | seeds | " + " | ".join(titles.values()) + " | training | test | memory |",
        "|---|---|" + "---|" * (len(titles) + 3),
    ]
    for variant in variants:
        paired = [trial for trial in trials if trial.variant == variant and trial.seed in baseline]
        cells = [
            _difference_cell(
                [trial.values[part] for trial in paired],
                [baseline[trial.seed].values[part] for trial in paired],
            )
            if variant != variants[0]
            else f"{np.mean([trial.values[part] for trial in paired]):.3f}"
            for part in titles
        ]
        row = [variant, str(len(paired)), *cells, *_cost_cells(paired)]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def _difference_cell(values: Sequence[float], baseline: Sequence[float]) -> str:
    """Return the mean difference of two variants over the same seeds."""
    differences = np.subtract(values, baseline)
    spread = f" ± {differences.std(ddof=1):.3f}" if len(differences) > 1 else ""
    return f"{differences.mean():+.3f}{spread}"


def _cost_cells(trials: Sequence[VariantResult]) -> list[str]:
    """Return training time, test time and memory of a variant."""
    minutes = np.mean([trial.train_seconds for trial in trials]) / 60
    seconds = np.mean([trial.test_seconds for trial in trials])
    memory = max(trial.memory for trial in trials) / 1e9
    return [f"{minutes:.1f} min" if minutes else "", f"{seconds:.0f} s", f"{memory:.1f} GB"]
