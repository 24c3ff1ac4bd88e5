"""Network outputs of the last image of each session, in a cache limited in time and memory."""

import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.inference.results import PoseResult, make_pose_result
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import KeypointMaps, Poses


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
