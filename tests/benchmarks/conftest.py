"""What `make bench` measures with: a step, what it is held against, both in one run; and the table.

Absolute times wander on shared machines, so a step and its yardstick are run in turn, and the
median of the shares pair by pair is what is judged. A yardstick of many seconds is timed before.
"""

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tagpose.cli.memory import keep_freed_memory

_ROWS: Final = pytest.StashKey[list["Row"]]()
MB: Final = 1e6  # bytes

keep_freed_memory()  # as the programs do


class Row(NamedTuple):
    """A line of the table."""

    step: str
    seconds: float  # median
    against: str  # what the share is of; "" where the limit is one of seconds
    value: float  # the share, or the seconds
    limit: float  # of the value
    memory: float | None  # MB
    memory_limit: float | None  # MB
    worst: float  # the largest value of all inputs
    worst_limit: float | None

    @property
    def inside(self) -> bool:
        """Whether the step keeps its limits."""
        kept = self.memory_limit is None or (self.memory or 0.0) <= self.memory_limit
        bounded = self.worst_limit is None or self.worst <= self.worst_limit
        return self.value <= self.limit and kept and bounded


Measure = Callable[..., Row]


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Measure:
    """Measures a step and puts it into the table; see `measured`."""

    def measured(
        step: str,
        work: Callable[[], object],
        *,
        limit: float,
        against: str = "",
        yardstick: Callable[[], object] | float | None = None,
        rounds: int = 7,
        warmup: bool = True,
        memory: float | Callable[[], float] | None = None,
        memory_limit: float | None = None,
        worst_limit: float | None = None,
        every: int = 1,
        inputs: int | None = None,
    ) -> Row:
        """Measure `work`.

        Args:
            step: what the table calls it.
            work: is timed.
            limit: of the share of the yardstick, or of the seconds where there is none.
            against: what the table calls the yardstick.
            yardstick: is timed before each round; or its seconds, measured in the same session.
            rounds: of both.
            warmup: whether `work` is run once before, untimed.
            memory: MB that the step took, measured by whoever calls; or what tells them afterwards.
            memory_limit: MB.
            worst_limit: of the largest value of all inputs.
            every: how many rounds follow each timing of the yardstick.
            inputs: how many different inputs `work` takes in turn; the value of each is the median
                of its rounds. None where each round is an input.
        """
        if warmup:
            work()
        times, held = _timed(benchmark, work, yardstick, rounds, every)
        values = [t / h for t, h in zip(times, held, strict=True)] if against else times
        taken = memory() if callable(memory) else memory
        row = Row(
            step,
            median(times),
            against,
            median(values),
            limit,
            taken,
            memory_limit,
            max(median(values[one::inputs]) for one in range(inputs)) if inputs else max(values),
            worst_limit,
        )
        benchmark.extra_info.update(row._asdict(), inside=row.inside)
        request.config.stash.setdefault(_ROWS, []).append(row)
        return row

    return measured


def _timed(
    benchmark: BenchmarkFixture,
    work: Callable[[], object],
    yardstick: Callable[[], object] | float | None,
    rounds: int,
    every: int,
) -> tuple[list[float], list[float]]:
    """Seconds of the work, and of the last yardstick before it, round by round."""
    held: list[float] = []

    def before() -> None:
        if callable(yardstick) and len(held) % every:
            held.append(held[-1])
        elif callable(yardstick):
            start = perf_counter()
            yardstick()
            held.append(perf_counter() - start)

    benchmark.pedantic(work, setup=before, rounds=rounds)
    times = list(benchmark.stats.stats.data)
    return times, [yardstick] * len(times) if isinstance(yardstick, float) else held


@pytest.fixture(scope="session")
def peak_memory() -> Iterator[Callable[[Callable[[], Callable[[], object]]], float]]:
    """Measures memory, in a process whose heap has no holes of earlier steps.

    Takes what prepares the work, from the top of a module.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), keep_freed_memory) as pool:
        yield lambda prepare: pool.submit(_peak_memory, prepare).result()


def _peak_memory(prepare: Callable[[], Callable[[], object]]) -> float:
    """MB that the work takes at most beyond what is held when it starts (Linux)."""
    work = prepare()
    work()  # what is loaded or made once is not counted
    ctypes.CDLL(None).malloc_trim(0)  # what was freed does not count as held
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / MB


def _status(key: str) -> float:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(key))) * 1024


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    rows = terminalreporter.config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("steps and their limits")
    head = ("step", "median", "share", "limit", "worst (limit)", "of", "memory (limit)", "")
    for line in (head, ("---",) * len(head), *map(_shown, rows)):
        terminalreporter.write_line(f"| {' | '.join(line)} |")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a step is over its limit."""
    if any(not row.inside for row in session.config.stash.get(_ROWS, [])):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _shown(row: Row) -> tuple[str, ...]:
    """A line of the table as text."""

    def with_unit(value: float) -> str:
        if not row.against:
            return f"{value:g} s" if value >= 1 else f"{1e3 * value:g} ms"
        return f"{value:.2%}" if row.limit < 1 else f"{value:.2f} x"

    value, limit = with_unit(row.value) if row.against else "", with_unit(row.limit)
    worst = (
        "" if row.worst_limit is None else f"{with_unit(row.worst)} ({with_unit(row.worst_limit)})"
    )
    memory = "" if row.memory is None else f"{row.memory:.1f} MB"
    if row.memory_limit is not None:
        memory += f" ({row.memory_limit:g})"
    seconds = f"{row.seconds:.2f} s" if row.seconds >= 1 else f"{1e3 * row.seconds:.2f} ms"
    return (
        row.step,
        seconds,
        value,
        limit,
        worst,
        row.against,
        memory,
        "inside" if row.inside else "OVER",
    )
