"""Benchmark measurements: time, memory, and utilization of the peak FLOPS."""

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

# Dense bf16 TFLOPS by the CUDA name of the whole chip; a MIG slice has another name. Sources: the
# NVIDIA data sheets of H100 (SXM5), H200 (SXM), A100 and L40S, and the Ada architecture whitepaper,
# appendix A (RTX 4090, with float32 accumulation). Figures "with sparsity" are halved.
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
    """Time and memory of one call of a workload, or the error that it raised."""

    seconds: float | None  # median over the repeats
    memory: int | None  # peak in bytes; only measured on CUDA
    error: str | None = None


@dataclass(frozen=True)
class Timer:
    """Measure the time and memory of workloads.

    Attributes:
        device: device that runs the workload.
        warmup_steps: calls before the measurement, for compilation and the choice of algorithms.
        steps: consecutive calls that are timed together, because a GPU runs asynchronously.
        repeats: number of timings, of which the median is reported.
    """

    device: torch.device
    warmup_steps: int
    steps: int
    repeats: int

    def __call__(self, prepare: Callable[[], Work]) -> TimingResult:
        """Prepare a workload and measure one call of it, without the preparation."""
        free_memory(self.device)
        try:
            return self._measure(prepare())
        except torch.OutOfMemoryError:
            return TimingResult(None, None, "out of memory")
        except RuntimeError as error:  # e.g. a missing compiler; other workloads still run
            message = (str(error).strip() or type(error).__name__).splitlines()[0]
            return TimingResult(None, None, message)

    def _measure(self, work: Work) -> TimingResult:
        for _ in range(self.warmup_steps):
            work()
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        seconds = median(self._time_once(work) for _ in range(self.repeats))
        memory = torch.cuda.max_memory_allocated(self.device) if on_gpu else None
        return TimingResult(seconds, memory)

    def _time_once(self, work: Work) -> float:
        """Return the mean seconds of a call over `steps` consecutive calls."""
        synchronize(self.device)
        start = perf_counter()
        for _ in range(self.steps):
            work()
        synchronize(self.device)
        return (perf_counter() - start) / self.steps


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished all queued kernels."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Free the compiled code and memory of earlier workloads."""
    torch.compiler.reset()  # otherwise a second size is compiled for dynamic shapes, which is slow
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def measure_loader(loader: Iterable[Sample]) -> float:
    """Return the images per second of a data loader in an epoch after its workers have started."""
    for _ in loader:
        pass
    start = perf_counter()
    images = sum(len(batch.image) for batch in loader)
    return images / (perf_counter() - start)


def count_flops(work: Work) -> int:
    """Return the FLOPs of the matrix products in one call of a workload that is not compiled."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def device_name(device: torch.device) -> str:
    """Return the CUDA name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_flops(device: torch.device, tflops: float | None) -> float | None:
    """Return the peak bf16 FLOPS of a device, or None if it is unknown.

    Args:
        device: the device.
        tflops: its peak in TFLOPS; None takes the value from `PEAK_TFLOPS`.
    """
    tflops = tflops or PEAK_TFLOPS.get(device_name(device))
    return tflops * 1e12 if tflops else None


class BenchmarkCase(NamedTuple):
    """Workload and settings of a measurement."""

    work: str  # training, network, inference, decoding, training loop or loading
    images: int  # per batch
    model: str = ""
    compiled: bool = False
    workers: int | None = None  # of the data loader


class Measurement(NamedTuple):
    """Benchmark case and its results; None if a result does not apply."""

    work: str
    images: int
    model: str
    compiled: bool
    workers: int | None
    images_per_second: float | None = None
    seconds: float | None = None  # per batch
    memory: int | None = None  # peak in bytes
    flops_utilization: float | None = None  # fraction of the peak bf16 FLOPS
    decoding_fraction: float | None = None  # fraction of the inference time
    overhead_fraction: float | None = None  # fraction of the training loop outside of the step
    error: str | None = None


def make_measurement(
    case: BenchmarkCase,
    timing: TimingResult,
    *,
    operations: float = 0,
    peak: float | None = None,
    decoding: float | None = None,
    step: float | None = None,
) -> Measurement:
    """Compute the results of a benchmark case.

    Args:
        case: the case.
        timing: time and memory of a batch.
        operations: FLOPs per image; 0 if they are not counted.
        peak: peak FLOPS of the device, if it is known.
        decoding: seconds of decoding a batch, if it is part of the workload.
        step: seconds of the training step alone, if the workload is a training loop.
    """
    seconds, memory, error = timing
    if seconds is None:
        return Measurement(*case, error=error)
    speed = case.images / seconds
    return Measurement(
        *case,
        images_per_second=speed,
        seconds=seconds,
        memory=memory,
        flops_utilization=speed * operations / peak if operations and peak else None,
        decoding_fraction=decoding / seconds if decoding is not None else None,
        overhead_fraction=1 - step / seconds if step is not None else None,
    )


def make_measurement_table(measurements: Sequence[Measurement], title: str) -> Table:
    """Build a table with one row per measurement."""
    table = Table("work", "model", title=title)
    for column in (
        "batch",
        "workers",
        "images/s",
        "ms/batch",
        "GiB",
        "of peak",
        "decoding",
        "overhead",
    ):
        table.add_column(column, justify="right")
    for m in measurements:
        fractions = (m.flops_utilization, m.decoding_fraction, m.overhead_fraction)
        table.add_row(
            m.work,
            f"{m.model}, compiled" if m.compiled else m.model,
            str(m.images),
            "" if m.workers is None else str(m.workers),
            m.error or f"{m.images_per_second:.1f}",
            "" if m.seconds is None else f"{1000 * m.seconds:.1f}",
            "" if m.memory is None else f"{m.memory / 2**30:.2f}",
            *("" if fraction is None else f"{fraction:.1%}" for fraction in fractions),
        )
    return table
