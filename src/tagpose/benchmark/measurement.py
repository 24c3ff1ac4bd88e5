"""This file measures what a device gets done: time, memory, and the share of what it could do."""

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final, NamedTuple

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from tagpose.structures import Sample

# MERGED: """This file shows what a device gets done, to people and to programs."""
# Dense bf16, 10^12 operations a second, by the name that CUDA gives the whole chip: a MIG slice has
# another name. NVIDIA's data sheets H100 (SXM5), H200 (SXM), A100, L40S, and the Ada architecture
# whitepaper, appendix A (RTX 4090, with float32 accumulation), where a figure "with sparsity" is
# halved.
PEAK_TFLOPS: Final = {
    "NVIDIA H100 80GB HBM3": 989.0,
    "NVIDIA H200": 989.0,
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA A100-PCIE-40GB": 312.0,
    "NVIDIA A100 80GB PCIe": 312.0,
    "NVIDIA L40S": 362.0,
    "NVIDIA GeForce RTX 4090": 165.0,
}

Work = Callable[[], object]


class TimingResult(NamedTuple):
    """What a piece of work takes; one that fails has no time, but a trouble."""

    seconds: float | None  # median
    memory: int | None  # bytes at the most; only CUDA counts them
    error: str | None = None


@dataclass(frozen=True)
class Timer:
    """How a piece of work is timed; calling it does so.

    Attributes:
        device: that works.
        warmup_steps: calls before time counts: compilation, choice of algorithms.
        steps: calls in a row that are timed as one, as a GPU runs behind the CPU.
        repeats: of the timing, whose median counts.
    """

    device: torch.device
    warmup_steps: int
    steps: int
    repeats: int

    def __call__(self, prepare: Callable[[], Work]) -> TimingResult:
        """The cost of one call of the work that is prepared, which the time leaves out."""
        free_memory(self.device)
        try:
            return self._measure(prepare())
        except torch.OutOfMemoryError:
            return TimingResult(None, None, "out of memory")
        except RuntimeError as error:  # a compiler that is not there must not end the other work
            return TimingResult(
                None, None, (str(error).strip() or type(error).__name__).splitlines()[0]
            )

    def _measure(self, work: Work) -> TimingResult:
        for _ in range(self.warmup_steps):
            work()
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        seconds = median(self._time_once(work) for _ in range(self.repeats))
        return TimingResult(
            seconds, torch.cuda.max_memory_allocated(self.device) if on_gpu else None
        )

    def _time_once(self, work: Work) -> float:
        """Seconds of a call, over all steps in a row."""
        synchronize(self.device)
        start = perf_counter()
        for _ in range(self.steps):
            work()
        synchronize(self.device)
        return (perf_counter() - start) / self.steps


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Give back what earlier work left: compiled code, memory."""
    torch.compiler.reset()  # what was compiled for other sizes makes the next code general and slow
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def measure_loader(loader: Iterable[Sample]) -> float:
    """Images a second that a loader hands over in an epoch, once its workers are there."""
    for _ in loader:
        pass
    start = perf_counter()
    images = sum(len(batch.image) for batch in loader)
    return images / (perf_counter() - start)


def count_flops(work: Work) -> int:
    """Multiplications and additions in the matrices of one call of work that is not compiled."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def device_name(device: torch.device) -> str:
    """What a device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_flops(device: torch.device, given: float | None) -> float | None:
    """Operations a second that a device can do at most in bf16; None where that is not known.

    Args:
        device: in question.
        given: 10^12 operations a second, by someone who knows better.
    """
    known = given or PEAK_TFLOPS.get(device_name(device))
    return known * 1e12 if known else None


class BenchmarkCase(NamedTuple):
    """What is measured."""

    work: str  # training, network, inference, decoding, loading
    images: int  # of a batch
    model: str = ""
    compiled: bool = False
    workers: int | None = None  # of the loader


class Measurement(NamedTuple):
    """What was measured; None where there is nothing to say."""

    work: str
    images: int
    model: str
    compiled: bool
    workers: int | None
    images_per_second: float | None = None
    seconds: float | None = None  # a batch
    memory: int | None = None  # bytes at the most
    flops_utilization: float | None = None  # of what the chip multiplies in bf16
    decoding_fraction: float | None = None  # of the time of inference
    error: str | None = None


def make_measurement(
    subject: BenchmarkCase,
    cost: TimingResult,
    *,
    operations: float = 0,
    peak: float | None = None,
    decoding: float | None = None,
) -> Measurement:
    """What a cost says of a subject.

    Args:
        subject: that cost it.
        cost: of a batch.
        operations: of an image, where they are counted.
        peak: operations a second of the device, where that is known.
        decoding: seconds that decoding a batch takes, where that is part of the work.
    """
    seconds, memory, error = cost
    if seconds is None:
        return Measurement(*subject, error=error)
    speed = subject.images / seconds
    return Measurement(
        *subject,
        images_per_second=speed,
        seconds=seconds,
        memory=memory,
        flops_utilization=speed * operations / peak if operations and peak else None,
        decoding_fraction=decoding / seconds if decoding is not None else None,
    )


def make_table(measurements: Sequence[Measurement], title: str) -> Table:
    """One row per figure."""
    result = Table("work", "model", title=title)
    for column in ("batch", "workers", "images/s", "ms/batch", "GiB", "of peak", "decoding"):
        result.add_column(column, justify="right")
    for one in measurements:
        result.add_row(
            one.work,
            f"{one.model}, compiled" if one.compiled else one.model,
            str(one.images),
            "" if one.workers is None else str(one.workers),
            one.error or f"{one.images_per_second:.1f}",
            "" if one.seconds is None else f"{1000 * one.seconds:.1f}",
            "" if one.memory is None else f"{one.memory / 2**30:.2f}",
            *(
                "" if s is None else f"{s:.1%}"
                for s in (one.flops_utilization, one.decoding_fraction)
            ),
        )
    return result
