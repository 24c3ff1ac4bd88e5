"""This file shows what a device gets done, to people and to programs."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from tagpose.training.throughput import Cost


class Subject(NamedTuple):
    """What is measured."""

    work: str  # training, network, inference, decoding, loading
    images: int  # of a batch
    model: str = ""
    compiled: bool = False
    workers: int | None = None  # of the loader


class Figure(NamedTuple):
    """What was measured; None where there is nothing to say."""

    work: str
    images: int
    model: str
    compiled: bool
    workers: int | None
    images_per_second: float | None = None
    seconds: float | None = None  # a batch
    memory: int | None = None  # bytes at the most
    peak_share: float | None = None  # of what the chip multiplies in bf16
    decode_share: float | None = None  # of the time of inference
    trouble: str | None = None


def figure(
    subject: Subject,
    cost: Cost,
    *,
    operations: float = 0,
    peak: float | None = None,
    decoding: float | None = None,
) -> Figure:
    """What a cost says of a subject.

    Args:
        subject: that cost it.
        cost: of a batch.
        operations: of an image, where they are counted.
        peak: operations a second of the device, where that is known.
        decoding: seconds that decoding a batch takes, where that is part of the work.
    """
    seconds, memory, trouble = cost
    if seconds is None:
        return Figure(*subject, trouble=trouble)
    speed = subject.images / seconds
    return Figure(
        *subject,
        images_per_second=speed,
        seconds=seconds,
        memory=memory,
        peak_share=speed * operations / peak if operations and peak else None,
        decode_share=decoding / seconds if decoding is not None else None,
    )


def table(figures: Sequence[Figure], title: str) -> Table:
    """One row per figure."""
    result = Table("work", "model", title=title)
    for column in ("batch", "workers", "images/s", "ms/batch", "GiB", "of peak", "decoding"):
        result.add_column(column, justify="right")
    for one in figures:
        result.add_row(
            one.work,
            f"{one.model}, compiled" if one.compiled else one.model,
            str(one.images),
            "" if one.workers is None else str(one.workers),
            one.trouble or f"{one.images_per_second:.1f}",
            "" if one.seconds is None else f"{1000 * one.seconds:.1f}",
            "" if one.memory is None else f"{one.memory / 2**30:.2f}",
            *("" if s is None else f"{s:.1%}" for s in (one.peak_share, one.decode_share)),
        )
    return result
