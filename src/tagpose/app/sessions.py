"""State of the app's sessions: network outputs of the last image, and running jobs."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Event, Lock
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.inference.results import PoseResult, make_pose_result
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import KeypointMaps, Poses

IsStopped: TypeAlias = Callable[[], bool]  # whether a job was asked to stop
ReportProgress: TypeAlias = Callable[[int, int | None], None]  # number of items done, and of all
_CLOSE_TIMEOUT: Final = 30.0  # seconds to finish the current frames and images


class CachedImage(NamedTuple):
    """Image with its network outputs and the people decoded from them."""

    display_image: np.ndarray  # [h, w, 3] uint8 RGB, the image resized for display
    image_size: tuple[int, int]  # width, height of the original image
    keypoint_maps: KeypointMaps  # batch of this image only, on the CPU
    affine: Tensor  # [1, 2, 3] float64, image pixels to input pixels
    network_seconds: float  # duration of preprocessing and forward pass
    decoder: AssociativeEmbeddingDecoder  # decoder that returned `people`
    people: Poses  # in image pixels, with all scores
    file: Path = Path()  # upload, for pictures in its own size

    def result(self, skeleton: Skeleton) -> PoseResult:
        """Return all people of the image."""
        return make_pose_result(self.people, self.image_size, skeleton)

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.display_image.nbytes + sum(maps.nbytes for maps in self.keypoint_maps)


class _Entry(NamedTuple):
    """Image and the time of its last use."""

    cached: CachedImage
    last_used: float  # seconds of the monotonic clock


class SessionCache:
    """Cache of one image per session; the least recently used images are evicted first.

    Gradio's session state is no substitute: it stays in memory for an hour after a page is closed,
    regardless of its size.

    Args:
        max_bytes: maximum memory of all images in bytes; the newest image is always kept.
        max_idle_seconds: time without use after which an image is evicted.
    """

    def __init__(self, max_bytes: int, max_idle_seconds: float) -> None:
        self.max_bytes, self.max_idle_seconds = max_bytes, max_idle_seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # most recently used last
        self._lock = Lock()  # requests are served by several threads

    def put(self, session_id: str, cached: CachedImage) -> None:
        """Store an image, replacing the session's previous one."""
        with self._lock:
            self._entries.pop(session_id, None)
            self._entries[session_id] = _Entry(cached, time.monotonic())
            self._evict()

    def get(self, session_id: str) -> CachedImage | None:
        """Return the session's image, or None if there is none or it was evicted."""
        with self._lock:
            self._evict()
            entry = self._entries.pop(session_id, None)
            if entry is None:
                return None
            self._entries[session_id] = entry._replace(last_used=time.monotonic())
            return entry.cached

    def replace(self, session_id: str, old: CachedImage, new: CachedImage) -> None:
        """Replace `old` by `new`, unless the session has another image by now."""
        with self._lock:
            entry = self._entries.get(session_id)
            if entry is not None and entry.cached is old:
                self._entries[session_id] = entry._replace(cached=new)

    def remove(self, session_id: str) -> None:
        """Remove the session's image if there is one."""
        with self._lock:
            self._entries.pop(session_id, None)

    def _evict(self) -> None:
        """Remove images that were not used for too long, and the oldest beyond the memory limit."""
        oldest = time.monotonic() - self.max_idle_seconds
        total = sum(entry.cached.nbytes for entry in self._entries.values())
        for session_id, entry in list(self._entries.items()):
            is_full = total > self.max_bytes and len(self._entries) > 1
            if entry.last_used >= oldest and not is_full:
                break
            del self._entries[session_id]
            total -= entry.cached.nbytes


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
