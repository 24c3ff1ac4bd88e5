"""Cache of the arrays that are built from an annotation file, so that it is parsed only once."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from filelock import FileLock

from tagpose.data.array_store import mmap_arrays, write_arrays

CACHE_VERSION: Final = 6  # increase it when the arrays change, or the way in which they are built
_NUM_SAMPLES, _SAMPLE_SIZE = 16, 4096  # samples of a file's content, and bytes of each
_GRACE_PERIOD: Final = 3600.0  # seconds after which every process has mapped the file it opened


class CachedArrays(NamedTuple):
    """Arrays, and the cache file from which they are mapped."""

    arrays: Sequence[np.ndarray]
    path: Path | None  # None if the arrays are in memory only


def load_or_build(
    file: Path, variant: str, dependencies: object, build: Callable[[], Sequence[np.ndarray]]
) -> CachedArrays:
    """Load the arrays of a file from the cache, or build and cache them if the file has changed.

    The cache is next to the file if that folder is writable, else in the user's cache folder. A
    damaged cache is built again. If several processes of a machine need the same cache, one of them
    builds it while the others wait.

    Args:
        file: file from which the arrays are built.
        variant: name of what is built from the file; the latest cache of each variant is kept.
        dependencies: everything else that the arrays depend on.
        build: function that returns the arrays; its errors are passed on.
    """
    paths = _array_files(file, variant, dependencies)
    if cached := _open_cached(paths):
        return cached
    with exclusive_lock(paths):
        if cached := _open_cached(paths):  # another process has built it in the meantime
            return cached
        arrays = build()
        if _array_files(file, variant, dependencies) != paths:  # the file has changed meanwhile
            return CachedArrays(arrays, None)
        return _store(arrays, paths, file)


def cache_paths(file: Path, variant: str, dependencies: object) -> list[Path]:
    """Return the possible cache paths for the current state of a file, in order of preference.

    Args:
        file: file to cache.
        variant: name of what is built from the file.
        dependencies: everything else that it depends on.

    Raises:
        OSError: the file cannot be read.
    """
    status = file.stat()
    key = (CACHE_VERSION, file.name, status.st_size, status.st_mtime_ns, variant, dependencies)
    digest = sha256(repr(key).encode())
    for sample in _content_samples(file, status.st_size):
        digest.update(sample)
    name = digest.hexdigest()[:32]
    return [folder / file.name / variant / name for folder in _folders(file)]


@contextmanager
def exclusive_lock(paths: Sequence[Path]) -> Iterator[None]:
    """Wait until no other process of the machine holds the lock, which ends with its process.

    Unlike `folder_lock.lock_file`, this continues with the next path, and in the end without a
    lock, if a file system is read-only or has no locks: caches are written atomically, so building
    one twice is only slower.

    Args:
        paths: equivalent paths; the lock is next to the first one that can be locked.
    """
    with ExitStack() as stack:
        for path in paths:
            lock = path.with_name(f"{path.name}.lock")
            with suppress(OSError):
                lock.parent.mkdir(parents=True, exist_ok=True)
                # a soft lock, which is a mere file, would outlive a killed process
                stack.enter_context(FileLock(lock, fallback_to_soft=False))
                break
        yield


def _open_cached(paths: Sequence[Path]) -> CachedArrays | None:
    """Return the first cache that exists and is intact."""
    for path in paths:
        with suppress(OSError, ValueError):  # missing or damaged
            return CachedArrays(mmap_arrays(path, check=True), path)
    return None


def _store(arrays: Sequence[np.ndarray], paths: Sequence[Path], file: Path) -> CachedArrays:
    """Write arrays to the first writable path; if there is none, warn and return them as given."""
    reason: Exception | None = None
    for path in paths:
        try:
            write_arrays(arrays, path)
            _remove_outdated(path)
            return CachedArrays(mmap_arrays(path, check=True), path)
        except (OSError, ValueError) as error:
            reason = error
    warnings.warn(
        f"{file} will be parsed each time, because its cache cannot be written ({reason}); set "
        "XDG_CACHE_HOME to a writable folder",
        stacklevel=4,  # the caller of read_annotations
    )
    return CachedArrays(arrays, None)


def _remove_outdated(path: Path) -> None:
    """Remove the caches of earlier states of a file, and temporary files."""
    for other in path.parent.iterdir():
        with suppress(OSError):  # another process may have removed it already
            if other != path and other.stat().st_mtime < time.time() - _GRACE_PERIOD:
                other.unlink()


def _array_files(file: Path, variant: str, dependencies: object) -> list[Path]:
    """Return the possible paths of the cached arrays of a file, in order of preference."""
    paths = cache_paths(file, variant, dependencies)
    return [path.with_name(f"{path.name}.arrays") for path in paths]


def _content_samples(file: Path, size: int) -> Iterator[bytes]:
    """Yield samples of the content, at equal distances."""
    starts = np.linspace(0, max(0, size - _SAMPLE_SIZE), _NUM_SAMPLES, dtype=np.int64)
    with file.open("rb") as stream:
        for start in starts.tolist():
            stream.seek(start)
            yield stream.read(_SAMPLE_SIZE)


def _folders(file: Path) -> Iterator[Path]:
    """Yield the folder next to a file, then the user's cache folder (XDG base directories)."""
    yield file.parent / ".tagpose"
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):  # the user has no home folder
        cache = configured if configured.is_absolute() else Path.home() / ".cache"
        # the hash keeps files of the same name in different folders apart
        yield cache / "tagpose" / sha256(os.fsencode(file.parent.resolve())).hexdigest()[:16]
