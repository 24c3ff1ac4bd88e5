"""Trials of a sweep: claims of several processes, and the table `runs.csv` of results."""

import csv
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from rich.table import Table

from tagpose.io import atomic_write
from tagpose.locks import LOCK_NAME, FolderInUseError, lock_file, lock_folder
from tagpose.sweeps.search_space import Overrides, Sweep, list_overrides

TABLE_NAME: Final = "runs.csv"  # in the folder of a sweep
_LOCK_TIMEOUT: Final = 60.0  # seconds; another process writes the table in milliseconds
_RUN_COLUMNS: Final = ("run", "state", "seconds")  # columns before the metric's and the parameters'
_DONE: Final = "done"


class Trial(NamedTuple):
    """Result of a run of a sweep that has ended."""

    number: int
    overrides: Overrides
    state: str  # "done", or the reason of the failure
    value: float  # best logged value of the metric; NaN if none was logged
    seconds: float

    @property
    def done(self) -> bool:
        """Whether the run succeeded."""
        return self.state == _DONE


def make_trial(number: int, overrides: Overrides, code: int, value: float, seconds: float) -> Trial:
    """Return the result of a run, which is done if it exited with code 0 and logged the metric."""
    if code:
        return Trial(number, overrides, f"failed, exit code {code}", math.nan, seconds)
    state = "logged no metric" if math.isnan(value) else _DONE
    return Trial(number, overrides, state, value, seconds)


@contextmanager
def claim_trial(folder: Path, number: int, sweep: Sweep) -> Iterator[Path | None]:
    """Lock a run of a sweep while its program runs.

    Two locks are needed. One is outside the folder of the run, because that folder is removed
    before the run. The other is inside; training holds it if the run was resumed manually or its
    sweep was killed.

    Args:
        folder: folder of the sweep.
        number: number of the run.
        sweep: the sweep.

    Yields:
        The folder of the run, which does not exist yet, or None if the run is done already or
        another process is running it.
    """
    run_folder = folder / str(number)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_file(folder / f".{number}{LOCK_NAME}", what=str(run_folder)))
            trials = read_trials(folder / TABLE_NAME, list_overrides(sweep))
            is_free = not any(trial.number == number and trial.done for trial in trials)
            if is_free and run_folder.exists():
                with lock_folder(run_folder):
                    shutil.rmtree(run_folder)
        except FolderInUseError:
            is_free = False
        yield run_folder if is_free else None


def merge_trials(folder: Path, trials: Sequence[Trial], sweep: Sweep) -> list[Trial]:
    """Add results to the table of a sweep, replacing earlier results of the same runs.

    Args:
        folder: folder of the sweep, in which the table is created if it is missing.
        trials: results to add.
        sweep: the sweep of the table.

    Returns:
        All results in the table, sorted by run number.

    Raises:
        ValueError: the table belongs to another sweep.
        FolderInUseError: another process has held the lock of the table for a minute.
    """
    file = folder / TABLE_NAME
    with lock_file(folder / LOCK_NAME, what=str(file), wait=_LOCK_TIMEOUT):
        earlier = {trial.number: trial for trial in read_trials(file, list_overrides(sweep))}
        by_number = earlier | {trial.number: trial for trial in trials}
        merged = [by_number[number] for number in sorted(by_number)]
        write_trials(file, merged, sweep)
    return merged


def write_trials(file: Path, trials: Sequence[Trial], sweep: Sweep) -> None:
    """Write a table of results atomically."""
    with atomic_write(file) as partial, partial.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([*_RUN_COLUMNS, sweep.metric, *sweep.parameters])
        table.writerows(
            [t.number, t.state, f"{t.seconds:.1f}", t.value, *t.overrides.values()] for t in trials
        )


def read_trials(file: Path, runs: Sequence[Overrides]) -> list[Trial]:
    """Read the table of a sweep.

    Args:
        file: table written by `write_trials`; if it is missing, the result is empty.
        runs: overrides of all runs of the sweep.

    Raises:
        ValueError: the table belongs to another sweep.
    """
    if not file.exists():
        return []
    trials = []
    with file.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    for number, state, seconds, value, *values in rows:
        overrides = dict(zip(header[len(_RUN_COLUMNS) + 1 :], values, strict=True))
        if not int(number) < len(runs) or runs[int(number)] != overrides:
            raise ValueError(
                f"{file} belongs to another sweep; repeat the command that started it to resume "
                "it, or start a new sweep with another folder="
            )
        trials.append(Trial(int(number), overrides, state, float(value), float(seconds)))
    return trials


def sort_trials(trials: Sequence[Trial], *, maximize: bool) -> list[Trial]:
    """Sort results from best to worst, failed runs last."""
    return sorted(
        trials, key=lambda t: (not t.done, t.done and (-t.value if maximize else t.value), t.number)
    )


def make_trial_table(trials: Sequence[Trial], sweep: Sweep, title: str) -> Table:
    """Build a table with one row per run, best first: metric, varied parameters, time and state."""
    table = Table("run", title=title)
    short_names = [name.rpartition(".")[2] for name in sweep.varied_parameters]
    for column in (sweep.metric, *short_names, "minutes"):
        table.add_column(column, justify="right")
    table.add_column("state")
    for trial in sort_trials(trials, maximize=sweep.maximize):
        table.add_row(
            str(trial.number),
            f"{trial.value:.4f}" if trial.done else "-",
            *(trial.overrides[name] for name in sweep.varied_parameters),
            f"{trial.seconds / 60:.1f}",
            trial.state,
        )
    return table
