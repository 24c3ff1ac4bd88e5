"""Signals that stop a training, which are obeyed once its state is saved."""

import os
import signal
import time
from collections.abc import Callable
from threading import Thread, Timer
from types import FrameType
from typing import Any, Final

# Schedulers end a job with SIGTERM, or warn it by SIGUSR1; a person with SIGINT; a terminal that is
# closed with SIGHUP.
SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)

_AT_ONCE: Final = 1.0  # seconds in which signals count as one: whoever starts processes repeats it
_GRACE: Final = 120.0  # seconds to save; a process may wait for another that is gone, in C


class Hearing:
    """Remembers the first signal of a process; a second one, or no end in two minutes, ends it.

    Args:
        started: whether another process of the training started this one; it repeats what it hears
            to this one, so repeats are none of a person's.
        forward: takes the signal's number to the processes that this one started.
    """

    def __init__(self, *, started: bool, forward: Callable[[int], None] | None) -> None:
        self.started, self.forward = started, forward
        self.number, self.since = 0, time.monotonic()
        self.before = {one: signal.getsignal(one) for one in SIGNALS}
        if self.before[signal.SIGHUP] == signal.SIG_IGN:  # nohup
            del self.before[signal.SIGHUP]
        if started:
            Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        self.listen()

    def listen(self) -> None:
        """Have signals remembered instead of obeyed."""
        for one in self.before:
            signal.signal(one, self._remember)

    def end(self) -> None:
        """Have signals do what they did before."""
        for one, handler in self.before.items():
            # None is one that Python knows nothing of
            signal.signal(one, signal.SIG_DFL if handler is None else handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; obey one that is sent again."""
        del frame
        if self.number:
            if not self.started and time.monotonic() - self.since > _AT_ONCE:
                os._exit(exit_code(number))
            return
        self.number, self.since = number, time.monotonic()
        late: Any = Timer(_GRACE, os._exit, (exit_code(number),))
        late.daemon = True
        late.start()
        if self.forward:
            self.forward(number)


def exit_code(number: int) -> int:
    """With what a process ends that a signal ends; schedulers start such a one again."""
    return 128 + number


def _end_with(parent: int) -> None:
    """Wait until the process that started this one is gone, and end: nobody would hear of it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
