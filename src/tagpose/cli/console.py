"""Output of programs: tables as plain text, and streams whose failure does not end a program."""

import atexit
import io
import os
import sys
from contextlib import suppress
from typing import Any, Final, TextIO

from rich.console import Console

_NAMES: Final = ("stdin", "stdout", "stderr")


def print_tables(*tables: Any, width: int | None = None) -> None:
    """Print tables or texts of rich; brackets and colons in names and titles are no markup.

    Args:
        tables: what rich can print.
        width: in characters; by default that of the terminal.
    """
    Console(markup=False, emoji=False, width=width).print(*tables)


def render_tables(*tables: Any, width: int) -> str:
    """Return tables as plain text; arguments are those of `print_tables`."""
    console = Console(markup=False, emoji=False, width=width, file=io.StringIO(), record=True)
    console.print(*tables)
    return console.export_text()


def tolerate_output_errors() -> None:
    """Make stdout and stderr drop what they cannot write, and count it.

    A closed pipe, a terminal that is gone, a full disk under a log or an encoding without a
    character would otherwise end a program whose results are files. Characters that an encoding
    lacks are written as escapes. Bytes that were dropped are counted on stderr at exit.
    """
    _open_missing_streams()
    for name in _NAMES[1:]:
        setattr(sys, name, _make_tolerant(getattr(sys, name), name))


def _open_missing_streams() -> None:
    """Open closed standard streams as /dev/null, as the next file would get their descriptor."""
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115 -- a descriptor


def _make_tolerant(stream: TextIO, name: str) -> TextIO:
    """Return a stream to the same descriptor that drops what cannot be written."""
    try:
        raw = _DroppingFile(stream.fileno(), name)
    except (OSError, AttributeError):  # in memory, such as that of a notebook or a test
        return stream
    with suppress(OSError):
        stream.flush()
    atexit.register(raw.report)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


class _DroppingFile(io.RawIOBase):
    """Write bytes to a descriptor, and count the bytes that cannot be written."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor, self.name = descriptor, name
        self.dropped, self.error = 0, ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def write(self, data: Any, /) -> int:
        left = memoryview(data)
        size = len(left)
        try:
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError as error:
            self.dropped, self.error = self.dropped + len(left), str(error.strerror)
        return size

    def report(self) -> None:
        """Tell stderr how much was dropped."""
        if self.dropped:
            print(f"{self.dropped} bytes of {self.name} were lost: {self.error}", file=sys.stderr)
