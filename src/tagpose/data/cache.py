"""This file remembers what was read of a file, so that a large one is parsed once."""

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

CACHE_VERSION: Final = 5  # raise it with every change of what is cached, or of how it is read
_NUM_SAMPLES, _SAMPLE_SIZE = 16, 4096  # so many places of a file are looked at, so many bytes each
_GRACE: Final = 3600.0  # seconds; what is older has been mapped by whoever was about to


class CachedArrays(NamedTuple):
    """Arrays, and the cache that they are mapped from."""

    arrays: Sequence[np.ndarray]
    path: Path | None  # None where they are in memory alone


def load_or_build(
    file: Path, variant: str, dependencies: object, read: Callable[[], Sequence[np.ndarray]]
) -> CachedArrays:
    """What `read` makes of a file, from a cache unless the file is another than before.

    The cache lies beside the file, or else among the user's own, in the first folder that can be
    written. A damaged one is as none. Of processes of one machine that want it at once, one reads
    the file and the others wait.

    Args:
        file: that is read.
        variant: of what is read of it; the latest cache of each stays.
        dependencies: what the reading depends on besides.
        read: is called where there is no cache; raises what it likes.
    """
    found = _array_files(file, variant, dependencies)
    if there := _open_cached(found):
        return there
    with exclusive_lock(found):
        if there := _open_cached(found):  # another process was quicker
            return there
        arrays = read()
        if _array_files(file, variant, dependencies) != found:  # it was written while it was read
            return CachedArrays(arrays, None)
        return _store(arrays, found, file)


def _open_cached(found: Sequence[Path]) -> CachedArrays | None:
    """The first cache that is there and whole."""
    for place in found:
        with suppress(OSError, ValueError):  # there is none, or it is damaged
            return CachedArrays(mmap_arrays(place, check=True), place)
    return None


@contextmanager
def exclusive_lock(known: Sequence[Path]) -> Iterator[None]:
    """Wait until no other process of the machine is in here; one that dies lets others in.

    Args:
        known: places that all want; a lock lies beside the first whose folder can be written.
    """
    with ExitStack() as stack:
        for place in known:
            lock = place.with_name(f"{place.name}.lock")
            # where none can be, none is held: what is written is whole however many write it
            with suppress(OSError):
                lock.parent.mkdir(parents=True, exist_ok=True)
                # where a disk knows no locks a mere file would outlive a process that is killed
                stack.enter_context(FileLock(lock, fallback_to_soft=False))
                break
        yield


def _store(arrays: Sequence[np.ndarray], found: Sequence[Path], file: Path) -> CachedArrays:
    """The arrays out of a new cache, or as they are where none can be written."""
    why: Exception | None = None
    for place in found:
        try:
            write_arrays(arrays, place)
            _remove_earlier(place)
            return CachedArrays(mmap_arrays(place, check=True), place)
        except (OSError, ValueError) as error:
            why = error
    warnings.warn(
        f"{file} will be parsed each time, because what was read cannot be cached ({why}); "
        "XDG_CACHE_HOME may name a folder that can be written",
        stacklevel=4,  # whoever reads annotations
    )
    return CachedArrays(arrays, None)


def _remove_earlier(place: Path) -> None:
    """Remove what earlier states of a file left, whole or not."""
    for other in place.parent.iterdir():
        with suppress(OSError):  # another process may have been quicker
            if other != place and other.stat().st_mtime < time.time() - _GRACE:
                other.unlink()


def _array_files(file: Path, variant: str, dependencies: object) -> list[Path]:
    """Where the cached arrays of a file as it is now may lie."""
    return [
        place.with_name(f"{place.name}.arrays")
        for place in cache_paths(file, variant, dependencies)
    ]


def cache_paths(file: Path, variant: str, dependencies: object) -> list[Path]:
    """Where what is remembered of a file as it is now may lie, by preference.

    Args:
        file: that is remembered.
        variant: of what is remembered of it.
        dependencies: what it depends on besides.

    Raises:
        OSError: the file cannot be read.
    """
    status = file.stat()
    known = (CACHE_VERSION, file.name, status.st_size, status.st_mtime_ns, variant, dependencies)
    digest = sha256(repr(known).encode())
    for look in _content_samples(file, status.st_size):
        digest.update(look)
    name = digest.hexdigest()[:32]
    return [folder / file.name / variant / name for folder in _folders(file)]


def _content_samples(file: Path, size: int) -> Iterator[bytes]:
    """Some of the content, all over it."""
    with file.open("rb") as opened:
        for start in np.linspace(
            0, max(0, size - _SAMPLE_SIZE), _NUM_SAMPLES, dtype=np.int64
        ).tolist():
            opened.seek(start)
            yield opened.read(_SAMPLE_SIZE)


def _folders(file: Path) -> Iterator[Path]:
    """Beside the file, or else among the user's own caches (XDG base directories)."""
    yield file.parent / ".tagpose"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):  # of somebody without a home
        user = named if named.is_absolute() else Path.home() / ".cache"
        # files of one name in two folders are two files
        yield user / "tagpose" / sha256(os.fsencode(file.parent.resolve())).hexdigest()[:16]
