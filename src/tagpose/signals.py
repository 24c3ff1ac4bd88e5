"""Handling of the signals that stop a program: SIGINT, SIGTERM, SIGUSR1 and SIGHUP."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Thread, Timer
from types import FrameType
from typing import Any, Final, TypeAlias

_Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None

# Schedulers end a job with SIGTERM or warn it with SIGUSR1; Ctrl-C sends SIGINT; closing a terminal
# sends SIGHUP.
SCHEDULER_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1)
STOP_SIGNALS: Final = (*SCHEDULER_SIGNALS, signal.SIGINT, signal.SIGHUP)
_REPEAT_WINDOW: Final = 1.0  # seconds; launchers repeat a signal, and repeats count as one signal
_MAX_WAIT: Final = 120.0  # seconds to save; a process may wait in C for a rank that has exited


class StopSignalHandler:
    """Record the first stop signal; exit at once after a second one, or two minutes later.

    Args:
        is_child: whether another process of the training started this one. That process forwards
            signals, so a child does not count a repeated signal as a second one.
        forward: sends a signal number to the processes that this one started.
    """

    def __init__(self, *, is_child: bool, forward: Callable[[int], None] | None) -> None:
        self.is_child, self.forward = is_child, forward
        self.number, self.since = 0, time.monotonic()
        self.previous_handlers = _read_handlers(STOP_SIGNALS)
        if is_child:
            Thread(target=_exit_when_orphaned, args=(os.getppid(),), daemon=True).start()
        self.install()

    def install(self) -> None:
        """Install the handlers."""
        for number in self.previous_handlers:
            signal.signal(number, self._handle)

    def restore(self) -> None:
        """Restore the previous handlers."""
        _restore_handlers(self.previous_handlers)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Record the first signal and forward it; exit if a signal is repeated later."""
        del frame
        if self.number:
            if not self.is_child and time.monotonic() - self.since > _REPEAT_WINDOW:
                os._exit(signal_exit_code(number))
            return
        self.number, self.since = number, time.monotonic()
        timer: Any = Timer(_MAX_WAIT, os._exit, (signal_exit_code(number),))
        timer.daemon = True
        timer.start()
        if self.forward:
            self.forward(number)


def signal_exit_code(number: int) -> int:
    """Return the exit code of a process that a signal ended; schedulers restart such processes."""
    return 128 + number


@contextmanager
def forward_signals(pid: int) -> Iterator[None]:
    """Forward stop signals to a process instead of acting on them, so that it exits first.

    Args:
        pid: id of the process, which decides when to exit.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    with _handling(forward, _read_handlers(STOP_SIGNALS)):
        yield


@contextmanager
def defer_signals() -> Iterator[Callable[[], int]]:
    """Record the first SIGINT or SIGTERM; the second one is handled normally.

    Yields:
        A function that returns the number of the received signal, or 0.
    """
    previous = _read_handlers((signal.SIGINT, signal.SIGTERM))
    received = 0

    def record(number: int, frame: FrameType | None) -> None:
        nonlocal received
        del frame
        received = number
        _restore_handlers(previous)

    with _handling(record, previous):
        yield lambda: received


@contextmanager
def _handling(handler: _Handler, previous: Mapping[int, _Handler]) -> Iterator[None]:
    """Install a handler for signals, and reinstall the previous handlers at the end."""
    try:
        for number in previous:
            signal.signal(number, handler)
        yield
    finally:
        _restore_handlers(previous)


def _read_handlers(numbers: Sequence[int]) -> dict[int, _Handler]:
    """Return the current handlers of signals, except an ignored SIGHUP (nohup)."""
    handlers = {number: signal.getsignal(number) for number in numbers}
    if handlers.get(signal.SIGHUP) == signal.SIG_IGN:
        del handlers[signal.SIGHUP]
    return handlers


def _restore_handlers(handlers: Mapping[int, _Handler]) -> None:
    """Reinstall handlers returned by `_read_handlers`."""
    for number, handler in handlers.items():
        # None: the previous handler was not installed from Python
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _exit_when_orphaned(parent: int) -> None:
    """Exit once the parent process has ended, because no signal would be forwarded any more."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
