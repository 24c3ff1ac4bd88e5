"""This file remembers the last image of each visitor, for a while, within a limit of memory."""

import time
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from tagpose.app.cached_image import CachedImage


class _Entry(NamedTuple):
    """An image, and when it was last asked for."""

    cached: CachedImage
    used: float  # seconds of the monotonic clock


class SessionCache:
    """Images by visitor; those not used for longest go first where they are too much.

    gradio's own state would stay for an hour after its page is closed, however large.

    Args:
        max_bytes: bytes of all images together; the newest stays, whatever it takes.
        max_idle_seconds: without use after which an image is forgotten.
    """

    def __init__(self, max_bytes: int, max_idle_seconds: float) -> None:
        self.max_bytes, self.max_idle_seconds = max_bytes, max_idle_seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # those used last at the end
        self._lock = Lock()  # visitors are served by several threads

    def put(self, session_id: str, cached: CachedImage) -> None:
        """Keep an image in place of the visitor's last one."""
        with self._lock:
            self._entries.pop(session_id, None)
            self._entries[session_id] = _Entry(cached, time.monotonic())
            self._evict()

    def get(self, session_id: str) -> CachedImage | None:
        """The visitor's image, unless it was forgotten or never was."""
        with self._lock:
            self._evict()
            entry = self._entries.pop(session_id, None)
            if entry is None:
                return None
            self._entries[session_id] = entry._replace(used=time.monotonic())
            return entry.cached

    def replace(self, session_id: str, old: CachedImage, new: CachedImage) -> None:
        """Keep an image in place of what it was, unless the visitor has another one by now."""
        with self._lock:
            entry = self._entries.get(session_id)
            if entry is not None and entry.cached is old:
                self._entries[session_id] = entry._replace(cached=new)

    def remove(self, session_id: str) -> None:
        """Forget the visitor's image, if there is one."""
        with self._lock:
            self._entries.pop(session_id, None)

    def _evict(self) -> None:
        """Drop what is too old, and what is too much."""
        oldest = time.monotonic() - self.max_idle_seconds
        total = sum(entry.cached.nbytes for entry in self._entries.values())
        for session_id, entry in list(self._entries.items()):
            too_much = total > self.max_bytes and len(self._entries) > 1
            if entry.used >= oldest and not too_much:
                break
            del self._entries[session_id]
            total -= entry.cached.nbytes
