"""Streaming JSON parser that hands over the rows of long lists one by one.

Annotation files may be too large to be parsed at once; here only a window of the text and the rows
that the caller keeps are in memory.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

_CHUNK: Final = 1 << 22  # characters to read at once
_TOKEN: Final = 16  # characters: no truncated number, keyword or escape sequence is longer
_EXPONENT: Final = 2  # characters: "e" and a sign, which the decoder leaves out of a cut number
_HEAD: Final = 4  # bytes that determine the encoding
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


class RowCollector(Protocol):
    """Object that receives the rows of a list."""

    def append(self, row: Any, /) -> None: ...


def read_object(file: Path, collectors: Mapping[str, Callable[[], RowCollector]]) -> dict[str, Any]:
    """Read the top-level JSON object of a file, streaming some of its lists into collectors.

    Args:
        file: JSON file in any encoding that JSON allows, optionally compressed with gzip.
        collectors: for the key of each list to stream, a function that creates its collector.

    Returns:
        The members of the object, with each streamed list replaced by its collector. A key of
        `collectors` is absent if its value is not a list; the result is empty if the file does not
        contain an object.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not valid JSON.
    """
    with file.open("rb") as raw, _decompress(raw) as binary:
        # accepts what `json.loads` accepts as bytes, and a byte order mark
        encoding = json.detect_encoding(_head(binary, file))
        text = io.TextIOWrapper(binary, encoding, errors="surrogatepass", newline="")
        window = _TextWindow(file, text)
        if window.skip("{"):
            content = _read_members(window, collectors)
        else:
            window.read()  # must be valid JSON even if it is not an object
            content = {}
        window.check_end()
    return content


def _decompress(file: io.BufferedReader) -> io.BufferedReader:
    """Return the decompressed content if a file is compressed with gzip, else the file."""
    if file.peek(2)[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=file))
    return file


def _head(content: io.BufferedReader, file: Path) -> bytes:
    """Return the first bytes of a file, which must not be empty."""
    try:
        head = content.peek(_HEAD)[:_HEAD]
    except (OSError, EOFError, zlib.error) as error:  # invalid gzip data
        raise _json_error(file, str(error)) from error
    if not head:
        raise _json_error(file, "it is empty")
    return head


def _json_error(file: Path, reason: str) -> ValueError:
    """Return the error for a file that is not valid JSON."""
    return ValueError(f"{file} is not a valid JSON file: {reason}; export or download it again")


def _read_members(
    window: "_TextWindow", collectors: Mapping[str, Callable[[], RowCollector]]
) -> dict[str, Any]:
    """Read the members of an object after its brace; the last of duplicate keys wins."""
    content: dict[str, Any] = {}
    for _ in window.entries("}"):
        key = window.read_key()
        content.pop(key, None)
        if key not in collectors:
            content[key] = window.read()
        elif window.skip("["):
            rows = content[key] = collectors[key]()
            for _ in window.entries("]"):
                rows.append(window.read())
        else:
            window.read()
    return content


class _TextWindow:
    """Window that moves forward over a text while JSON values are decoded from it."""

    def __init__(self, file: Path, source: TextIO) -> None:
        self.file, self.source = file, source
        self.text, self.position = "", 0
        self.dropped = 0  # characters before the window

    def read(self) -> Any:
        """Decode the value at the current position."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self._skip_space())
            except json.JSONDecodeError as error:
                if not (self._may_be_cut(error) and self._load_more()):
                    raise self._json_error(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self._json_error(str(error), self.position) from error
            else:
                # a number may continue after the window: 1.5 in "1.5e+"
                if end + _EXPONENT < len(self.text) or not self._load_more():
                    self.position = end
                    return value

    def read_key(self) -> str:
        """Decode the key of a member and skip the colon."""
        if self._peek() != '"':
            reason = "Expecting property name enclosed in double quotes"
            raise self._json_error(reason, self.position)
        key: str = self.read()
        self._expect(":")
        return key

    def entries(self, end: str) -> Iterator[None]:
        """Yield before each entry of a list or object, until the bracket `end` closes it."""
        if self.skip(end):
            return
        yield
        while not self.skip(end):
            self._expect(",")
            yield

    def skip(self, character: str) -> bool:
        """Skip a character if it comes next, and return whether it did."""
        is_next = self._peek() == character
        self.position += is_next
        return is_next

    def check_end(self) -> None:
        """Check that nothing but white space is left."""
        if self._peek():
            raise self._json_error("Extra data", self.position)

    def _expect(self, character: str) -> None:
        if not self.skip(character):
            raise self._json_error(f"Expecting {character!r} delimiter", self.position)

    def _peek(self) -> str:
        """Return the next character that is not white space; "" at the end of the text."""
        while self._skip_space() == len(self.text) and self._load_more():
            pass
        return self.text[self.position : self.position + 1]

    def _skip_space(self) -> int:
        """Move past white space and return the new position."""
        if match := _SPACE.match(self.text, self.position):
            self.position = match.end()
        return self.position

    def _load_more(self) -> bool:
        """Move the window forward, and return whether there was more text."""
        try:
            # doubles the window, so that decoding of a long value does not start over too often
            chunk = self.source.read(max(_CHUNK, len(self.text) - self.position))
        except (ValueError, EOFError, OSError, zlib.error) as error:  # of encoding or compression
            raise self._json_error(str(error), self.position) from error
        if chunk:
            self.dropped += self.position
            self.text, self.position = self.text[self.position :] + chunk, 0
        return bool(chunk)

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Return whether the end of the window may have caused an error.

        The error of an unterminated string has the position of its start.
        """
        return error.pos >= len(self.text) - _TOKEN or error.msg.startswith("Unterminated")

    def _json_error(self, reason: str, position: int) -> ValueError:
        """Return the error for invalid JSON at a position in the window."""
        return _json_error(self.file, f"{reason} (character {self.dropped + position})")
