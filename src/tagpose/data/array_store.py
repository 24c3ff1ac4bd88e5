"""This file writes arrays to disk and maps them from there, which processes share.

They lie in one file: each as `numpy.save` writes it, without pickles, and filled up to a multiple
of `_ALIGNMENT`; at the end a checksum of all.
"""

import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tagpose.io import atomic_write

_ALIGNMENT: Final = 64  # bytes, as within numpy's own files
_CHECKSUM: Final = 4  # bytes


def write_arrays(arrays: Sequence[np.ndarray], file: Path) -> None:
    """Write arrays, whole or not at all.

    Raises:
        OSError: the disk is full or may not be written.
    """
    with atomic_write(file) as partial, partial.open("w+b") as out:
        for array in arrays:
            np.lib.format.write_array(out, np.asarray(array, order="C"), allow_pickle=False)
            out.write(bytes(-out.tell() % _ALIGNMENT))
        out.flush()
        with _open_mmap(partial) as mapping:
            out.write(_checksum(mapping))


def mmap_arrays(file: Path, *, check: bool) -> list[np.ndarray]:
    """The arrays of a file, mapped; they cannot be written.

    Args:
        file: that was written by `write_arrays`.
        check: whether to read it through for damage.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is damaged.
    """
    mapping = _open_mmap(file)  # lives as long as an array of it
    end = len(mapping) - _CHECKSUM
    if end <= 0 or (check and _checksum(memoryview(mapping)[:end]) != mapping[end:]):
        raise ValueError(f"{file} is damaged")
    arrays = []
    while mapping.tell() < end:
        arrays.append(_next_array(mapping))
    return arrays


def _open_mmap(file: Path) -> mmap.mmap:
    """The bytes of a file, which are in memory once for all processes."""
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _checksum(content: Any) -> bytes:
    """Four bytes that tell of damage."""
    return zlib.crc32(content).to_bytes(_CHECKSUM, "big")


def _next_array(mapping: mmap.mmap) -> np.ndarray:
    """The array that begins here; the mapping moves on to the next."""
    np.lib.format.read_magic(mapping)
    shape, _, dtype = np.lib.format.read_array_header_1_0(mapping)
    start = mapping.tell()
    array: np.ndarray = np.ndarray(shape, dtype, mapping, start)
    end = start + array.nbytes
    mapping.seek(end + -end % _ALIGNMENT)
    return array
