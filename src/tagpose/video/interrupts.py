"""Deferred SIGINT and SIGTERM, so that a loop over frames ends after the current frame."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def defer_signals() -> Iterator[Callable[[], int]]:
    """Record the first SIGINT or SIGTERM; the second one is handled normally.

    Yields:
        A function that returns the number of the received signal, or 0.
    """
    received = 0
    old_handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)

    def record(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = number
        restore()

    for number in _SIGNALS:
        signal.signal(number, record)
    try:
        yield lambda: received
    finally:
        restore()
