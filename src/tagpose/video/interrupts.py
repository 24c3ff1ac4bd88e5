"""Ends a loop over frames at a signal, after the frame at hand."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def defer_signals() -> Iterator[Callable[[], int]]:
    """Remember the first SIGINT or SIGTERM; a second one has its usual effect at once.

    Yields:
        A function that returns the number of the signal, 0 as long as there was none.
    """
    received = 0
    before = {one: signal.getsignal(one) for one in _SIGNALS}

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = number
        restore()

    for one in _SIGNALS:
        signal.signal(one, remember)
    try:
        yield lambda: received
    finally:
        restore()
