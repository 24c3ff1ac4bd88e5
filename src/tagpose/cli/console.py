"""Console output: plain-text tables, and standard streams that tolerate write errors."""

import atexit
import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from typing import Any, Final, TextIO

from rich.console import Console
from rich.table import Table

_NAMES: Final = ("stdin", "stdout", "stderr")


def print_tables(*tables: Any, width: int | None = None) -> None:
    """Print rich tables or strings, without interpreting markup or emoji codes in names.

    Args:
        tables: rich renderables.
        width: line width in characters; by default that of the terminal.
    """
    _print_with_titles(Console(markup=False, emoji=False, width=width), tables)


def render_tables(*tables: Any, width: int) -> str:
    """Return tables as plain text; the arguments are those of `print_tables`."""
    console = Console(markup=False, emoji=False, width=width, file=io.StringIO(), record=True)
    _print_with_titles(console, tables)
    return console.export_text()


def _print_with_titles(console: Console, tables: Iterable[Any]) -> None:
    """Print tables, each below a line with its title; rich would wrap it to the table's width."""
    for table in tables:
        if isinstance(table, Table) and table.title:
            console.print(table.title, style="table.title", highlight=False, soft_wrap=True)
            table = copy(table)
            table.title = None
        console.print(table)


def tolerate_output_errors() -> None:
    """Make stdout and stderr drop output that cannot be written.

    Otherwise a closed pipe, a closed terminal, a full disk under a log, or a character that the
    encoding lacks would end a program whose results are files. Missing characters are written as
    escapes. The number of dropped bytes is reported on stderr at exit.
    """
    _open_missing_streams()
    for name in _NAMES[1:]:
        setattr(sys, name, _make_tolerant(getattr(sys, name), name))


def _open_missing_streams() -> None:
    """Reopen closed standard streams as /dev/null; the next file would get their descriptors."""
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115 -- stays open


def _make_tolerant(stream: TextIO, name: str) -> TextIO:
    """Return a stream to the same descriptor that drops output that cannot be written."""
    try:
        raw = _DroppingFile(stream.fileno(), name)
    except (OSError, AttributeError):  # an in-memory stream, as in notebooks and tests
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
    """Raw stream that counts the bytes that its descriptor does not accept."""

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
        remaining = memoryview(data)
        size = len(remaining)
        try:
            while remaining:
                remaining = remaining[os.write(self.descriptor, remaining) :]
        except OSError as error:
            self.dropped, self.error = self.dropped + len(remaining), str(error.strerror)
        return size

    def report(self) -> None:
        """Print the number of dropped bytes to stderr."""
        if self.dropped:
            print(f"{self.dropped} bytes of {self.name} were lost: {self.error}", file=sys.stderr)
