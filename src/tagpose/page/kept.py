"""This file remembers the last image of each visitor, for a while, within a limit of memory."""

import time
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from tagpose.page.looking import Looked


class _Entry(NamedTuple):
    """An image, and when it was last asked for."""

    looked: Looked
    used: float  # seconds of the monotonic clock


class Kept:
    """Images by visitor; those not used for longest go first where they are too much.

    gradio's own state would stay for an hour after its page is closed, however large.

    Args:
        weight: bytes of all images together; the newest stays, whatever it takes.
        seconds: without use after which an image is forgotten.
    """

    def __init__(self, weight: int, seconds: float) -> None:
        self.weight, self.seconds = weight, seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # those used last at the end
        self._lock = Lock()  # visitors are served by several threads

    def put(self, visitor: str, looked: Looked) -> None:
        """Keep an image in place of the visitor's last one."""
        with self._lock:
            self._entries.pop(visitor, None)
            self._entries[visitor] = _Entry(looked, time.monotonic())
            self._forget()

    def get(self, visitor: str) -> Looked | None:
        """The visitor's image, unless it was forgotten or never was."""
        with self._lock:
            self._forget()
            entry = self._entries.pop(visitor, None)
            if entry is None:
                return None
            self._entries[visitor] = entry._replace(used=time.monotonic())
            return entry.looked

    def renew(self, visitor: str, old: Looked, new: Looked) -> None:
        """Keep an image in place of what it was, unless the visitor has another one by now."""
        with self._lock:
            entry = self._entries.get(visitor)
            if entry is not None and entry.looked is old:
                self._entries[visitor] = entry._replace(looked=new)

    def drop(self, visitor: str) -> None:
        """Forget the visitor's image, if there is one."""
        with self._lock:
            self._entries.pop(visitor, None)

    def _forget(self) -> None:
        """Drop what is too old, and what is too much."""
        oldest = time.monotonic() - self.seconds
        total = sum(entry.looked.weight for entry in self._entries.values())
        for visitor, entry in list(self._entries.items()):
            too_much = total > self.weight and len(self._entries) > 1
            if entry.used >= oldest and not too_much:
                break
            del self._entries[visitor]
            total -= entry.looked.weight
