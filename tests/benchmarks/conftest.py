"""Fixtures of `make bench`: timing relative to a reference, peak memory, and the table of results.

Absolute times vary on shared machines, so a step and its reference are timed in turn, and the limit
applies to the median of the ratios. A reference that takes many seconds is timed once before.
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

from tagpose.cli.program import keep_freed_memory

_ROWS: Final = pytest.StashKey[list["Row"]]()
MB: Final = 1e6  # bytes

keep_freed_memory()  # like the programs


class Row(NamedTuple):
    """Row of the table."""

    step: str
    seconds: float  # median
    reference: str  # name of the reference; "" if the limit is in seconds
    value: float  # median ratio to the reference, or seconds
    limit: float  # of the value
    memory: float | None  # MB
    memory_limit: float | None  # MB
    worst: float  # largest value of all inputs
    worst_limit: float | None

    @property
    def within_limits(self) -> bool:
        """Whether the step is within its limits."""
        memory_ok = self.memory_limit is None or (self.memory or 0.0) <= self.memory_limit
        worst_ok = self.worst_limit is None or self.worst <= self.worst_limit
        return self.value <= self.limit and memory_ok and worst_ok


Measure = Callable[..., Row]


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Measure:
    """Return a function that measures a step and adds it to the table."""

    def measure_step(
        step: str,
        work: Callable[[], object],
        *,
        limit: float,
        reference_name: str = "",
        reference: Callable[[], object] | float | None = None,
        rounds: int = 7,
        warmup: bool = True,
        memory: float | Callable[[], float] | None = None,
        memory_limit: float | None = None,
        worst_limit: float | None = None,
        reference_every: int = 1,
        num_inputs: int | None = None,
    ) -> Row:
        """Measure a step.

        Args:
            step: name of the step in the table.
            work: function to time.
            limit: limit of the ratio to the reference, or of the seconds without a reference.
            reference_name: name of the reference in the table.
            reference: function to time before the rounds, or its seconds if it was timed already.
            rounds: number of timed calls.
            warmup: whether to call `work` once before the timing.
            memory: MB that the step uses, or a function that returns them after the timing.
            memory_limit: limit of the memory in MB.
            worst_limit: limit of the largest value of all inputs.
            reference_every: number of rounds for each timing of the reference.
            num_inputs: number of inputs that `work` cycles through; the value of each is the
                median of its rounds. None if each round has another input.
        """
        if warmup:
            work()
        times, reference_times = _time(benchmark, work, reference, rounds, reference_every)
        pairs = zip(times, reference_times, strict=True)
        values = [time / reference for time, reference in pairs] if reference_name else times
        by_input = [values[i::num_inputs] for i in range(num_inputs or 0)]
        row = Row(
            step,
            median(times),
            reference_name,
            median(values),
            limit,
            memory() if callable(memory) else memory,
            memory_limit,
            max(map(median, by_input), default=max(values)),
            worst_limit,
        )
        benchmark.extra_info.update(row._asdict(), within_limits=row.within_limits)
        request.config.stash.setdefault(_ROWS, []).append(row)
        return row

    return measure_step


def _time(
    benchmark: BenchmarkFixture,
    work: Callable[[], object],
    reference: Callable[[], object] | float | None,
    rounds: int,
    reference_every: int,
) -> tuple[list[float], list[float]]:
    """Return the seconds of each round, and of the last timing of the reference before it."""
    reference_times: list[float] = []

    def time_reference() -> None:
        if callable(reference) and len(reference_times) % reference_every:
            reference_times.append(reference_times[-1])
        elif callable(reference):
            start = perf_counter()
            reference()
            reference_times.append(perf_counter() - start)

    benchmark.pedantic(work, setup=time_reference, rounds=rounds)
    times = list(benchmark.stats.stats.data)
    return times, [reference] * len(times) if isinstance(reference, float) else reference_times


@pytest.fixture(scope="session")
def peak_memory() -> Iterator[Callable[[Callable[[], Callable[[], object]]], float]]:
    """Return a function that measures peak memory in a new process without a fragmented heap.

    Its argument is a module-level function that prepares the work.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), keep_freed_memory) as pool:
        yield lambda prepare: pool.submit(_peak_memory, prepare).result()


def _peak_memory(prepare: Callable[[], Callable[[], object]]) -> float:
    """Return the peak memory of the work in MB, beyond that before its start (Linux)."""
    work = prepare()
    work()  # excludes memory that is allocated once
    ctypes.CDLL(None).malloc_trim(0)  # returns freed memory to the system
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / MB


def _status(key: str) -> float:
    """Return a value of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(key))) * 1024


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of results."""
    rows = terminalreporter.config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("steps and their limits")
    head = ("step", "median", "share", "limit", "worst (limit)", "reference", "memory (limit)", "")
    for line in (head, ("---",) * len(head), *map(_format_row, rows)):
        terminalreporter.write_line(f"| {' | '.join(line)} |")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if a step exceeds a limit."""
    if any(not row.within_limits for row in session.config.stash.get(_ROWS, [])):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _format_row(row: Row) -> tuple[str, ...]:
    """Return the cells of a row."""

    def with_unit(value: float) -> str:
        if not row.reference:
            return f"{value:g} s" if value >= 1 else f"{1e3 * value:g} ms"
        return f"{value:.2%}" if row.limit < 1 else f"{value:.2f} x"

    value, limit = with_unit(row.value) if row.reference else "", with_unit(row.limit)
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
        row.reference,
        memory,
        "ok" if row.within_limits else "OVER",
    )
