"""This file keeps what came of the runs of a search, and shows it."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rich.table import Table

from tagpose.training.search import Search, Told
from tagpose.writing import whole

_FACTS: Final = ("run", "state", "seconds")  # columns before the metric's and the parameters'
_DONE: Final = "done"


class Trial(NamedTuple):
    """A run of a search that has ended."""

    number: int
    told: Told
    state: str  # "done", or what went wrong
    value: float  # the best that it logged; NaN where it did not
    seconds: float

    @property
    def done(self) -> bool:
        """Whether it went well."""
        return self.state == _DONE


def ended(number: int, told: Told, code: int, value: float, seconds: float) -> Trial:
    """What came of a run: it is done if its program ended well and logged the metric."""
    if code:
        return Trial(number, told, f"failed, exit code {code}", math.nan, seconds)
    return Trial(number, told, "logged no metric" if math.isnan(value) else _DONE, value, seconds)


def write_trials(file: Path, trials: Sequence[Trial], search: Search) -> None:
    """Write a table of runs, whole or not at all."""
    with whole(file) as partial, partial.open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow([*_FACTS, search.metric, *search.parameters])
        table.writerows(
            [t.number, t.state, f"{t.seconds:.1f}", t.value, *t.told.values()] for t in trials
        )


def read_trials(file: Path, runs: Sequence[Told]) -> list[Trial]:
    """The runs that a broken-off search has done; none where it has not begun.

    Args:
        file: that `write_trials` wrote, if anything did.
        runs: what the runs of the search are told.

    Raises:
        ValueError: the file is of another search.
    """
    if not file.exists():
        return []
    done = []
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    for number, state, seconds, value, *words in rows:
        told = dict(zip(header[len(_FACTS) + 1 :], words, strict=True))
        if not int(number) < len(runs) or runs[int(number)] != told:
            raise ValueError(
                f"{file} is of another search; the words of its first command go on with it, "
                "another folder= begins anew"
            )
        done.append(Trial(int(number), told, state, float(value), float(seconds)))
    return [trial for trial in done if trial.done]


def best(trials: Sequence[Trial], *, largest: bool) -> list[Trial]:
    """The runs, the best first; those that failed last."""
    return sorted(
        trials, key=lambda t: (not t.done, t.done and (-t.value if largest else t.value), t.number)
    )


def table(trials: Sequence[Trial], search: Search, title: str) -> Table:
    """One row per run, the best first: the metric, what differs between them, what went wrong."""
    result = Table("run", title=title)
    varied = [name.rpartition(".")[2] for name in search.varied]
    for column in (search.metric, *varied, "minutes"):
        result.add_column(column, justify="right")
    result.add_column("state")
    for trial in best(trials, largest=search.largest):
        result.add_row(
            str(trial.number),
            f"{trial.value:.4f}" if trial.done else "-",
            *(trial.told[name] for name in search.varied),
            f"{trial.seconds / 60:.1f}",
            trial.state,
        )
    return result
