"""This file reads JSON that is too large to be held: the rows of its lists are handed on singly."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

_CHUNK: Final = 1 << 22  # characters that are read at once
_TOKEN: Final = 16  # characters: no number's end, keyword or escape that is cut in two is longer
_EXPONENT: Final = 2  # characters: e and a sign, which are no part of a number that is cut there
_HEAD: Final = 4  # bytes, which tell the encoding
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


class RowCollector(Protocol):
    """What takes the rows of a list."""

    def append(self, row: Any, /) -> None: ...


def check_file_exists(file: Path) -> None:
    """See that a file is there.

    Raises:
        FileNotFoundError: it is not.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; check the path of the annotation file")


def read_object(file: Path, lists: Mapping[str, Callable[[], RowCollector]]) -> dict[str, Any]:
    """The outermost JSON object of a file; memory is taken by what is kept alone.

    Args:
        file: of JSON in any encoding that JSON may have.
        lists: what is to take the rows, by the key of the list.

    Returns:
        The values by their keys, a list of `lists` as what took its rows. Each of these keys is
        absent where its value is no list; all are where the file holds no object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no whole JSON.
    """
    check_file_exists(file)
    with file.open("rb") as packed, _decompress(packed) as content_bytes:
        # what `json.loads` takes from bytes, and a byte order mark
        encoding = json.detect_encoding(_head(content_bytes, file))
        text = io.TextIOWrapper(content_bytes, encoding, errors="surrogatepass", newline="")
        window = _TextWindow(file, text)
        content = _read_members(window, lists) if window.take("{") else _read_other(window)
        window.see_end()
    return content


def _decompress(file: io.BufferedReader) -> io.BufferedReader:
    """Return the content of a file, which may be compressed with gzip."""
    if file.peek(2)[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=file))
    return file


def _head(content: io.BufferedReader, file: Path) -> bytes:
    """Return the first bytes of a file that is not empty."""
    try:
        start = content.peek(_HEAD)[:_HEAD]
    except (OSError, EOFError, zlib.error) as error:  # of the compression
        raise _json_error(file, str(error)) from error
    if not start:
        raise _json_error(file, "it is empty")
    return start


def _json_error(file: Path, why: str) -> ValueError:
    """What is said of a file that is not JSON."""
    return ValueError(f"{file} is no whole JSON file: {why}; export or download it again")


def _read_members(
    window: "_TextWindow", lists: Mapping[str, Callable[[], RowCollector]]
) -> dict[str, Any]:
    """The members of an object that has begun; of members with one key the last one counts."""
    content: dict[str, Any] = {}
    for _ in window.entries("}"):
        key = window.read_key()
        content.pop(key, None)
        if key not in lists:
            content[key] = window.read()
        elif window.take("["):
            rows = content[key] = lists[key]()
            for _ in window.entries("]"):
                rows.append(window.read())
        else:
            window.read()
    return content


def _read_other(window: "_TextWindow") -> dict[str, Any]:
    """Nothing, of a file whose outermost value is no object; it must be JSON all the same."""
    window.read()
    return {}


class _TextWindow:
    """The part of a text that is looked at; it moves on and never back."""

    def __init__(self, file: Path, source: TextIO) -> None:
        self.file, self.source = file, source
        self.text, self.at, self.behind = "", 0, 0  # characters that were dropped

    def read(self) -> Any:
        """The value that begins here."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self._next())
            except json.JSONDecodeError as error:
                if not (self._may_be_cut(error) and self._more()):
                    raise self._json_error(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self._json_error(str(error), self.at) from error
            else:
                # a number may go on behind the window: 1.5 in "1.5e+"
                if end + _EXPONENT < len(self.text) or not self._more():
                    self.at = end
                    return value

    def read_key(self) -> str:
        """The name of a member, and the colon behind it."""
        if self._peek() != '"':
            raise self._json_error("Expecting property name enclosed in double quotes", self.at)
        key: str = self.read()
        self._need(":")
        return key

    def entries(self, end: str) -> Iterator[None]:
        """Stops before each entry of a list or object that has begun; `end` closes it."""
        if self.take(end):
            return
        yield
        while not self.take(end):
            self._need(",")
            yield

    def take(self, mark: str) -> bool:
        """Step over a mark, if it is what comes next."""
        found = self._peek() == mark
        self.at += found
        return found

    def see_end(self) -> None:
        """See that nothing is left."""
        if self._peek():
            raise self._json_error("Extra data", self.at)

    def _need(self, mark: str) -> None:
        if not self.take(mark):
            raise self._json_error(f"Expecting {mark!r} delimiter", self.at)

    def _peek(self) -> str:
        """The character that comes next, blanks apart; "" at the end."""
        while self._next() == len(self.text) and self._more():
            pass
        return self.text[self.at : self.at + 1]

    def _next(self) -> int:
        """Where the next character is that is no blank."""
        if match := _SPACE.match(self.text, self.at):
            self.at = match.end()
        return self.at

    def _more(self) -> bool:
        """Move on; whether there was more."""
        try:
            # as much again, so that a long value is not begun too often
            chunk = self.source.read(max(_CHUNK, len(self.text) - self.at))
        except (ValueError, EOFError, OSError, zlib.error) as error:  # of encoding or compression
            raise self._json_error(str(error), self.at) from error
        if chunk:
            self.behind += self.at
            self.text, self.at = self.text[self.at :] + chunk, 0
        return bool(chunk)

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether an error may come from the end of the window; a string is named by its start."""
        return error.pos >= len(self.text) - _TOKEN or error.msg.startswith("Unterminated")

    def _json_error(self, why: str, at: int) -> ValueError:
        """What is said of a file that is not JSON."""
        return _json_error(self.file, f"{why} (character {self.behind + at})")
