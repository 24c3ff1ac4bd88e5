"""Storage of arrays in one file that processes map into shared memory.

The file contains each array as written by `numpy.save`, without pickles and padded to a multiple of
`_ALIGNMENT`, and a checksum at the end.
"""

import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tagpose.io import atomic_write

_ALIGNMENT: Final = 64  # bytes, as in numpy's own files
_CHECKSUM_SIZE: Final = 4  # bytes


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
