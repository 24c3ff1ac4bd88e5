"""Registry of running videos and downloads, which take up to minutes and can be stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Event
from typing import Final, TypeAlias

IsStopped: TypeAlias = Callable[[], bool]  # whether a job was asked to stop
ReportProgress: TypeAlias = Callable[[int, int | None], None]  # number of items done, and of all

_CLOSE_TIMEOUT: Final = 30.0  # seconds to finish the current frames and images


class RunningJobs:
    """Registry of running jobs, at most one of each kind per session."""

    def __init__(self) -> None:
        self._stop_events: dict[tuple[str, str], Event] = {}  # by session and kind
        self._is_closed = False
        self._changed = Condition()

    @contextmanager
    def run(self, session_id: str, kind: str) -> Iterator[IsStopped]:
        """Register a job, and yield the function that returns whether to stop it.

        Args:
            session_id: id of the session.
            kind: noun for error messages.

        Raises:
            ValueError: the session has a running job of this kind, or the app is closing.
        """
        key, stop_event = (session_id, kind), Event()
        with self._changed:
            if self._is_closed:
                raise ValueError("the app is closing; start it again")
            if key in self._stop_events:
                raise ValueError(
                    f"another {kind} of this page is being processed; wait for it, or stop it first"
                )
            self._stop_events[key] = stop_event
        try:
            yield stop_event.is_set
        finally:
            with self._changed:
                del self._stop_events[key]
                self._changed.notify_all()

    def stop(self, session_id: str, kind: str) -> None:
        """Stop the session's job, if there is one, after the current frame or image."""
        with self._changed:
            if stop_event := self._stop_events.get((session_id, kind)):
                stop_event.set()

    def close(self) -> None:
        """Refuse further jobs, stop all running ones, and wait until they have ended."""
        with self._changed:
            self._is_closed = True
            for stop_event in self._stop_events.values():
                stop_event.set()
            self._changed.wait_for(lambda: not self._stop_events, _CLOSE_TIMEOUT)
