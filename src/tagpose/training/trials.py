"""Results of the runs of a search: the table `runs.csv`, which several processes may write."""

import csv
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from rich.table import Table

from tagpose.folder_lock import NAME, FolderInUseError, lock_file, own_folder
from tagpose.training.search import Search, Told, runs_of
from tagpose.writing import whole

TABLE: Final = "runs.csv"  # in the folder of a search
_PATIENCE: Final = 60.0  # seconds; another process writes the table in milliseconds
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


@contextmanager
def own_trial(folder: Path, number: int, search: Search) -> Iterator[Path | None]:
    """Own a run of a search as long as its program runs.

    Two locks are needed: one outside of the folder of the run, which is removed before the run, and
    the one inside, which a training holds whose search was killed, or that somebody resumed.

    Args:
        folder: folder of the search.
        number: number of the run.
        search: the search.

    Yields:
        The folder of the run, which is missing, or None if another process has run it or runs it.
    """
    place = folder / str(number)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_file(folder / f".{number}{NAME}", what=str(place)))
            trials = read_trials(folder / TABLE, runs_of(search))
            free = not any(trial.number == number and trial.done for trial in trials)
            if free and place.exists():
                with own_folder(place):
                    shutil.rmtree(place)
        except FolderInUseError:
            free = False
        yield place if free else None


def add_trials(folder: Path, trials: Sequence[Trial], search: Search) -> list[Trial]:
    """Merge runs into the table of a search, in place of earlier ones with the same numbers.

    Args:
        folder: folder of the search, in which the table is created if it is missing.
        trials: runs that have ended.
        search: the search of the table.

    Returns:
        All runs of the table, by number.

    Raises:
        ValueError: the table is of another search.
        FolderInUseError: another process has been writing the table for a minute.
    """
    file = folder / TABLE
    with lock_file(folder / NAME, what=str(file), wait=_PATIENCE):
        there = {trial.number: trial for trial in read_trials(file, runs_of(search))}
        merged = there | {trial.number: trial for trial in trials}
        every = [merged[number] for number in sorted(merged)]
        write_trials(file, every, search)
    return every


def write_trials(file: Path, trials: Sequence[Trial], search: Search) -> None:
    """Write a table of runs, whole or not at all."""
    with whole(file) as partial, partial.open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow([*_FACTS, search.metric, *search.parameters])
        table.writerows(
            [t.number, t.state, f"{t.seconds:.1f}", t.value, *t.told.values()] for t in trials
        )


def read_trials(file: Path, runs: Sequence[Told]) -> list[Trial]:
    """Return the runs of a search that have ended; none where it has not begun.

    Args:
        file: that `write_trials` wrote, if anything did.
        runs: what the runs of the search are told.

    Raises:
        ValueError: the file is of another search.
    """
    if not file.exists():
        return []
    trials = []
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    for number, state, seconds, value, *words in rows:
        told = dict(zip(header[len(_FACTS) + 1 :], words, strict=True))
        if not int(number) < len(runs) or runs[int(number)] != told:
            raise ValueError(
                f"{file} is of another search; the words of its first command go on with it, "
                "another folder= begins anew"
            )
        trials.append(Trial(int(number), told, state, float(value), float(seconds)))
    return trials


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
