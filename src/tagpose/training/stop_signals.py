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
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)

_REPEAT_WINDOW: Final = (
    1.0  # seconds in which signals count as one: whoever starts processes repeats it
)
_MAX_WAIT: Final = 120.0  # seconds to save; a process may wait for another that is gone, in C


class StopSignalHandler:
    """Remembers the first signal of a process; a second one, or no end in two minutes, ends it.

    Args:
        is_child: whether another process of the training started this one; it repeats what it hears
            to this one, so repeats are none of a person's.
        forward: takes the signal's number to the processes that this one started.
    """

    def __init__(self, *, is_child: bool, forward: Callable[[int], None] | None) -> None:
        self.is_child, self.forward = is_child, forward
        self.number, self.since = 0, time.monotonic()
        self.previous_handlers = {one: signal.getsignal(one) for one in STOP_SIGNALS}
        if self.previous_handlers[signal.SIGHUP] == signal.SIG_IGN:  # nohup
            del self.previous_handlers[signal.SIGHUP]
        if is_child:
            Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
        self.install()

    def install(self) -> None:
        """Have signals remembered instead of obeyed."""
        for one in self.previous_handlers:
            signal.signal(one, self._handle)

    def restore(self) -> None:
        """Have signals do what they did before."""
        for one, handler in self.previous_handlers.items():
            # None is one that Python knows nothing of
            signal.signal(one, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; obey one that is sent again."""
        del frame
        if self.number:
            if not self.is_child and time.monotonic() - self.since > _REPEAT_WINDOW:
                os._exit(signal_exit_code(number))
            return
        self.number, self.since = number, time.monotonic()
        late: Any = Timer(_MAX_WAIT, os._exit, (signal_exit_code(number),))
        late.daemon = True
        late.start()
        if self.forward:
            self.forward(number)


def signal_exit_code(number: int) -> int:
    """With what a process ends that a signal ends; schedulers start such a one again."""
    return 128 + number


def _exit_with_parent(parent: int) -> None:
    """Wait until the process that started this one is gone, and end: nobody would hear of it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
