"""This file measures what a device gets done: time, memory, and the share of what it could do."""

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from tagpose.structures import Sample

# Dense bf16, 10^12 operations a second, by the name that CUDA gives the whole chip: a MIG slice has
# another name. NVIDIA's data sheets H100 (SXM5), H200 (SXM), A100, L40S, and the Ada architecture
# whitepaper, appendix A (RTX 4090, with float32 accumulation), where a figure "with sparsity" is
# halved.
PEAKS: Final = {
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


class Cost(NamedTuple):
    """What a piece of work takes; one that fails has no time, but a trouble."""

    seconds: float | None  # median
    memory: int | None  # bytes at the most; only CUDA counts them
    trouble: str | None = None


@dataclass(frozen=True)
class Stopwatch:
    """How a piece of work is timed; calling it does so.

    Attributes:
        device: that works.
        warmup: calls before time counts: compilation, choice of algorithms.
        steps: calls in a row that are timed as one, as a GPU runs behind the CPU.
        repeats: of the timing, whose median counts.
    """

    device: torch.device
    warmup: int
    steps: int
    repeats: int

    def __call__(self, prepare: Callable[[], Work]) -> Cost:
        """The cost of one call of the work that is prepared, which the time leaves out."""
        forget(self.device)
        try:
            return self._measure(prepare())
        except torch.OutOfMemoryError:
            return Cost(None, None, "out of memory")
        except RuntimeError as error:  # a compiler that is not there must not end the other work
            return Cost(None, None, (str(error).strip() or type(error).__name__).splitlines()[0])

    def _measure(self, work: Work) -> Cost:
        for _ in range(self.warmup):
            work()
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        seconds = median(self._once(work) for _ in range(self.repeats))
        return Cost(seconds, torch.cuda.max_memory_allocated(self.device) if on_gpu else None)

    def _once(self, work: Work) -> float:
        """Seconds of a call, over all steps in a row."""
        wait_for(self.device)
        start = perf_counter()
        for _ in range(self.steps):
            work()
        wait_for(self.device)
        return (perf_counter() - start) / self.steps


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget(device: torch.device) -> None:
    """Give back what earlier work left: compiled code, memory."""
    torch.compiler.reset()  # what was compiled for other sizes makes the next code general and slow
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def fed_per_second(loader: Iterable[Sample]) -> float:
    """Images a second that a loader hands over in an epoch, once its workers are there."""
    for _ in loader:
        pass
    start = perf_counter()
    images = sum(len(batch.image) for batch in loader)
    return images / (perf_counter() - start)


def count_operations(work: Work) -> int:
    """Multiplications and additions in the matrices of one call of work that is not compiled."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def device_name(device: torch.device) -> str:
    """What a device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_of(device: torch.device, given: float | None) -> float | None:
    """Operations a second that a device can do at most in bf16; None where that is not known.

    Args:
        device: in question.
        given: 10^12 operations a second, by someone who knows better.
    """
    known = given or PEAKS.get(device_name(device))
    return known * 1e12 if known else None
