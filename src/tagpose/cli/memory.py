"""This file settles how a program's memory is had from the system."""

import ctypes
import sys
from typing import Final

_MMAP_MAX: Final = -4  # glibc's mallopt(3)
_TRIM_THRESHOLD: Final = -1
_LARGEST: Final = 2**31 - 1  # of a C int


def keep_freed_memory() -> None:
    """Let this program keep what it frees, for the next tensor of that size.

    Otherwise glibc hands every large tensor back to the system, which clears its pages when the
    next one is made: 20 ms for 70 MB on a small machine, ten times what writing to it takes. For
    programs, which own their process; where there is no glibc nothing changes.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _LARGEST)
