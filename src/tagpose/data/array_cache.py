"""Cache of the arrays that are built from an annotation file, so that it is parsed only once.

Processes map the arrays of a cache file into shared memory. The file contains each array as
written by `numpy.save`, without pickles and padded to a multiple of `_ALIGNMENT`, and a checksum.
"""

import mmap
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from tagpose.io import atomic_write
from tagpose.locks import exclusive_lock

CACHE_VERSION: Final = 6  # increase it when the arrays change, or the way in which they are built
_NUM_SAMPLES, _SAMPLE_SIZE = 16, 4096  # samples of a file's content, and bytes of each
_GRACE_PERIOD: Final = 3600.0  # seconds after which every process has mapped the file it opened
_ALIGNMENT: Final = 64  # bytes, as in numpy's own files
_CHECKSUM_SIZE: Final = 4  # bytes


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


def write_arrays(arrays: Sequence[np.ndarray], file: Path) -> None:
    """Write arrays to a file atomically.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    with atomic_write(file) as partial, partial.open("w+b") as out:
        for array in arrays:
            np.lib.format.write_array(out, np.asarray(array, order="C"), allow_pickle=False)
            out.write(bytes(-out.tell() % _ALIGNMENT))
        out.flush()
        with _open_mmap(partial) as mapping:
            out.write(_checksum(mapping))


def mmap_arrays(file: Path, *, check: bool) -> list[np.ndarray]:
    """Map the arrays of a file into memory, read-only.

    Args:
        file: file that `write_arrays` wrote.
        check: whether to verify the checksum, which reads the whole file.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is damaged.
    """
    mapping = _open_mmap(file)  # stays open as long as one of its arrays exists
    end = len(mapping) - _CHECKSUM_SIZE
    if end <= 0 or (check and _checksum(memoryview(mapping)[:end]) != mapping[end:]):
        raise ValueError(f"{file} is damaged; delete it")
    arrays = []
    while mapping.tell() < end:
        arrays.append(_next_array(mapping))
    return arrays


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


def _open_mmap(file: Path) -> mmap.mmap:
    """Map a file into memory, which all processes that map it share."""
    with file.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _checksum(content: Any) -> bytes:
    """Return the CRC-32 of a buffer as bytes."""
    return zlib.crc32(content).to_bytes(_CHECKSUM_SIZE, "big")


def _next_array(mapping: mmap.mmap) -> np.ndarray:
    """Return the array at the current position, and move the position to the next one."""
    np.lib.format.read_magic(mapping)
    shape, _, dtype = np.lib.format.read_array_header_1_0(mapping)
    start = mapping.tell()
    array: np.ndarray = np.ndarray(shape, dtype, mapping, start)
    end = start + array.nbytes
    mapping.seek(end + -end % _ALIGNMENT)
    return array
