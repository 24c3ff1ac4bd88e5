"""This file says what the runs of a sweep are told; its format is that of `wandb sweep`."""

import csv
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice, product
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from rich.table import Table

from tagpose.folder_lock import LOCK_NAME, FolderInUseError, lock_file, lock_folder
from tagpose.io import atomic_write

# MERGED: """Results of the runs of a sweep: the table `runs.csv`, which several processes may write."""
Overrides: TypeAlias = dict[str, str]  # overrides of a run, the values as Hydra reads them

_METHODS: Final = ("grid", "random")
_SIGNIFICANT_DIGITS: Final = 3  # of a number that is drawn
_SAMPLERS: Final[dict[str, Callable[[np.random.Generator, Any, Any], float]]] = {
    "uniform": lambda draw, low, high: draw.uniform(low, high),
    "log_uniform_values": lambda draw, low, high: np.exp(draw.uniform(np.log(low), np.log(high))),
    "int_uniform": lambda draw, low, high: int(draw.integers(low, high, endpoint=True)),
}


class Sweep(NamedTuple):
    """What is tried, and what decides."""

    program: str  # a script of this project, relative to its root
    method: str  # grid or random
    metric: str  # under the name that runs log
    maximize: bool  # whether its largest value is best
    max_runs: int | None  # at most; None for a whole grid
    parameters: dict[str, dict[str, Any]]  # value, or values, or distribution with min and max

    @property
    def varied_parameters(self) -> list[str]:
        """The parameters that differ between runs."""
        return [name for name, choice in self.parameters.items() if "value" not in choice]


def parse_sweep(
    content: Mapping[str, Any], *, max_runs: str | None = None, metric: str | None = None
) -> Sweep:
    """The sweep that a file describes.

    Args:
        content: of the file.
        max_runs: in place of its `run_cap`.
        metric: in place of the name of its own.

    Raises:
        ValueError: the file lacks something, or asks for what only wandb's server does.
    """
    method, parameters = content.get("method"), content.get("parameters")
    if method not in _METHODS or not parameters or not content.keys() >= {"program", "metric"}:
        raise ValueError(
            f"method is {method!r}; what runs here has a program, its parameters, the metric that "
            f"decides, and one of the methods {', '.join(_METHODS)}; `wandb sweep` has others"
        )
    for name, choice in parameters.items():
        if fault := _find_error(choice, method):
            raise ValueError(f"parameter {name}: {fault}")
    most = str(max_runs or content.get("run_cap", ""))
    if not most.isdecimal() and (most or method == "random"):  # a grid ends by itself
        raise ValueError(f"{most!r} is no number of runs; run_cap has it, or count=N")
    return Sweep(
        program=content["program"],
        method=method,
        metric=metric or content["metric"]["name"],
        maximize=content["metric"].get("goal") == "maximize",
        max_runs=int(most) if most else None,
        parameters=parameters,
    )


def _find_error(choice: Mapping[str, Any], method: str) -> str | None:
    """What is wrong with one parameter, if anything is."""
    if {"value"} == choice.keys() or ({"values"} == choice.keys() and choice["values"]):
        return None
    if choice.keys() != {"distribution", "min", "max"} or choice["distribution"] not in _SAMPLERS:
        return (
            f"value, values, or one of {', '.join(_SAMPLERS)} with min and max are what runs here"
        )
    if method == "grid":
        return "a grid has values; method: random draws from distributions"
    logarithmic = choice["distribution"] == "log_uniform_values"
    if choice["min"] > choice["max"] or (logarithmic and choice["min"] <= 0):
        return f"nothing lies between {choice['min']} and {choice['max']}"
    return None


def list_overrides(sweep: Sweep) -> list[Overrides]:
    """What each run is overrides, always the same: a longer sweep begins with a shorter one's runs."""
    names, choices = sweep.parameters.keys(), sweep.parameters.values()
    if sweep.method == "grid":
        tried = product(*(choice.get("values", [choice.get("value")]) for choice in choices))
        combinations = list(islice(tried, sweep.max_runs))
    else:
        draws = map(np.random.default_rng, range(sweep.max_runs or 0))
        combinations = [tuple(_sample_value(choice, draw) for choice in choices) for draw in draws]
    return [dict(zip(names, map(_format_value, values), strict=True)) for values in combinations]


def _sample_value(choice: Mapping[str, Any], draw: np.random.Generator) -> Any:
    """One value of a parameter."""
    if "distribution" in choice:
        value = _SAMPLERS[choice["distribution"]](draw, choice["min"], choice["max"])
        return value if isinstance(value, int) else float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
    values = choice.get("values", [choice.get("value")])
    return values[int(draw.integers(len(values)))]


def _format_value(value: Any) -> str:
    """A value as Hydra reads it on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


TABLE_NAME: Final = "runs.csv"  # in the folder of a sweep
_LOCK_TIMEOUT: Final = 60.0  # seconds; another process writes the table in milliseconds
_RUN_COLUMNS: Final = ("run", "state", "seconds")  # columns before the metric's and the parameters'
_DONE: Final = "done"


class Trial(NamedTuple):
    """A run of a sweep that has ended."""

    number: int
    overrides: Overrides
    state: str  # "done", or what went wrong
    value: float  # the best that it logged; NaN where it did not
    seconds: float

    @property
    def done(self) -> bool:
        """Whether it went well."""
        return self.state == _DONE


def make_trial(number: int, overrides: Overrides, code: int, value: float, seconds: float) -> Trial:
    """What came of a run: it is done if its program ended well and logged the metric."""
    if code:
        return Trial(number, overrides, f"failed, exit code {code}", math.nan, seconds)
    return Trial(
        number, overrides, "logged no metric" if math.isnan(value) else _DONE, value, seconds
    )


@contextmanager
def claim_trial(folder: Path, number: int, sweep: Sweep) -> Iterator[Path | None]:
    """Own a run of a sweep as long as its program runs.

    Two locks are needed: one outside of the folder of the run, which is removed before the run, and
    the one inside, which a training holds whose sweep was killed, or that somebody resumed.

    Args:
        folder: folder of the sweep.
        number: number of the run.
        sweep: the sweep.

    Yields:
        The folder of the run, which is missing, or None if another process has run it or runs it.
    """
    place = folder / str(number)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_file(folder / f".{number}{LOCK_NAME}", what=str(place)))
            trials = read_trials(folder / TABLE_NAME, list_overrides(sweep))
            free = not any(trial.number == number and trial.done for trial in trials)
            if free and place.exists():
                with lock_folder(place):
                    shutil.rmtree(place)
        except FolderInUseError:
            free = False
        yield place if free else None


def merge_trials(folder: Path, trials: Sequence[Trial], sweep: Sweep) -> list[Trial]:
    """Merge runs into the table of a sweep, in place of earlier ones with the same numbers.

    Args:
        folder: folder of the sweep, in which the table is created if it is missing.
        trials: runs that have ended.
        sweep: the sweep of the table.

    Returns:
        All runs of the table, by number.

    Raises:
        ValueError: the table is of another sweep.
        FolderInUseError: another process has been writing the table for a minute.
    """
    file = folder / TABLE_NAME
    with lock_file(folder / LOCK_NAME, what=str(file), wait=_LOCK_TIMEOUT):
        there = {trial.number: trial for trial in read_trials(file, list_overrides(sweep))}
        merged = there | {trial.number: trial for trial in trials}
        every = [merged[number] for number in sorted(merged)]
        write_trials(file, every, sweep)
    return every


def write_trials(file: Path, trials: Sequence[Trial], sweep: Sweep) -> None:
    """Write a table of runs, whole or not at all."""
    with atomic_write(file) as partial, partial.open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow([*_RUN_COLUMNS, sweep.metric, *sweep.parameters])
        table.writerows(
            [t.number, t.state, f"{t.seconds:.1f}", t.value, *t.overrides.values()] for t in trials
        )


def read_trials(file: Path, runs: Sequence[Overrides]) -> list[Trial]:
    """Return the runs of a sweep that have ended; none where it has not begun.

    Args:
        file: that `write_trials` wrote, if anything did.
        runs: what the runs of the sweep are told.

    Raises:
        ValueError: the file is of another sweep.
    """
    if not file.exists():
        return []
    trials = []
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    for number, state, seconds, value, *words in rows:
        overrides = dict(zip(header[len(_RUN_COLUMNS) + 1 :], words, strict=True))
        if not int(number) < len(runs) or runs[int(number)] != overrides:
            raise ValueError(
                f"{file} is of another sweep; the words of its first command go on with it, "
                "another folder= begins anew"
            )
        trials.append(Trial(int(number), overrides, state, float(value), float(seconds)))
    return trials


def sort_trials(trials: Sequence[Trial], *, maximize: bool) -> list[Trial]:
    """The runs, the best first; those that failed last."""
    return sorted(
        trials, key=lambda t: (not t.done, t.done and (-t.value if maximize else t.value), t.number)
    )


def make_trial_table(trials: Sequence[Trial], sweep: Sweep, title: str) -> Table:
    """One row per run, the best first: the metric, what differs between them, what went wrong."""
    result = Table("run", title=title)
    varied = [name.rpartition(".")[2] for name in sweep.varied_parameters]
    for column in (sweep.metric, *varied, "minutes"):
        result.add_column(column, justify="right")
    result.add_column("state")
    for trial in sort_trials(trials, maximize=sweep.maximize):
        result.add_row(
            str(trial.number),
            f"{trial.value:.4f}" if trial.done else "-",
            *(trial.overrides[name] for name in sweep.varied_parameters),
            f"{trial.seconds / 60:.1f}",
            trial.state,
        )
    return result
