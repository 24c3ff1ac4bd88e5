"""This file fetches a file over HTTP: it has its name when it is whole and right, never before."""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import requests
from tqdm import tqdm

_TIMEOUT: Final = (10, 60)  # seconds: to connect, and between two pieces
_RETRY_DELAYS: Final = (1, 2, 4, 8, 16)  # seconds before another try
_CHUNK_SIZE: Final = 1 << 16  # bytes; a piece that breaks off is lost, so that it must be small


class _TransientError(ConnectionError):
    """What another try may mend."""


def download_file(
    url: str,
    file: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    retry_delays: Sequence[float] = _RETRY_DELAYS,
) -> None:
    """Have a file on the disk, whole and right.

    Until then it grows as FILE.part, and the next call goes on with that. A file that is there
    already is verified, not fetched. One process at a time may fetch a file.

    Args:
        url: where it is published.
        file: where it shall lie.
        size: bytes that it must have; None believes the server.
        checksum: ALGORITHM:DIGITS, md5 or sha256; the first 8 digits or more.
        retry_delays: seconds to wait when the connection breaks off; as many times it is tried again.

    Raises:
        ConnectionError: the server cannot be reached, or the connection breaks off again and again.
        OSError: the server refuses, or the disk has too little room.
        ValueError: what came, or what lies there, is not what was expected.
    """
    if checksum:
        _parse_checksum(checksum)
    part = part_file(file)
    if file.exists():
        remedy = f"remove it, or name it {part.name} if only its end is missing, and run this again"
        verify_file(file, size=size, checksum=checksum, remedy=remedy)
        return
    check_free_space(file.parent, (size or 0) - _file_size(part))
    file.parent.mkdir(parents=True, exist_ok=True)
    _download_with_retries(url, part, size, retry_delays)
    try:
        remedy = "it is removed: run this again to fetch it afresh"
        verify_file(part, size=size, checksum=checksum, remedy=remedy)
    except ValueError:
        part.unlink()
        raise
    _publish(part, file)


def part_file(file: Path) -> Path:
    """Where a file grows."""
    return file.with_name(f"{file.name}.part")


def verify_file(
    file: Path, *, size: int | None, checksum: str | None, remedy: str = "fetch it again"
) -> None:
    """See that a file is what was published.

    Raises:
        ValueError: it has another size or another checksum; the sentence ends with the remedy.
    """
    found = _file_size(file)
    if size is not None and found != size:
        raise ValueError(f"{file} has {found} bytes, not {size}; {remedy}")
    if checksum:
        algorithm, digits = _parse_checksum(checksum)
        digest = _compute_digest(file, algorithm)
        if not digest.startswith(digits):
            raise ValueError(f"{file} has the {algorithm} {digest}, not {digits}; {remedy}")


def check_free_space(folder: Path, needed: int) -> None:
    """See that the disk of a folder, which need not exist yet, has room for so many bytes.

    Raises:
        OSError: it has not.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise OSError(
            f"{folder} needs {needed / 1e9:.1f} GB, and its disk has {free / 1e9:.1f} GB free; "
            "make room or name a folder on another disk"
        )


def _download_with_retries(
    url: str, part: Path, size: int | None, retry_delays: Sequence[float]
) -> None:
    """Let the part grow until it is whole, over as many connections as it takes."""
    longest, left = _file_size(part), list(retry_delays)
    while True:
        try:
            _resume(url, part, size)
            return
        except _TransientError as error:
            # only what fails in one place is given up, however often 19 GB break off
            if _file_size(part) > longest:
                longest, left = _file_size(part), list(retry_delays)
            if not left:
                raise ConnectionError(
                    f"{error}, after {len(retry_delays) + 1} tries; {_file_size(part)} bytes are in {part}: "
                    "run this again later to go on with them"
                ) from error
            tqdm.write(f"{error}; again in {left[0]} s", file=sys.stderr)
            time.sleep(left.pop(0))


def _resume(url: str, part: Path, size: int | None) -> None:
    """Fetch what the part lacks, over one connection."""
    if size is not None and _file_size(part) >= size:
        return  # whole, or too long to become so, which its verification tells
    with _request(url, part) as answer:
        if answer.status_code == 416:
            return  # all of it is there: a checksum was broken off, or the name was not given yet
        promised = _content_length(answer)
        if size is not None and promised not in (None, size):
            raise ValueError(
                f"{url} has {promised} bytes, not {size}; open it in a browser to see what is "
                "published there now"
            )
        _write_body(answer, part, promised or size)
    if _file_size(part) < (promised or size or 0):
        raise _TransientError(f"{url} breaks off")


def _request(url: str, part: Path) -> requests.Response:
    """The server's answer, of which only the head is read: the bytes after the part, or all."""
    start = _file_size(part)
    # compressed on the way, bytes could be counted neither by Range nor by Content-Length
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _TransientError(f"{url} cannot be reached") from error
    span = answer.headers.get("Content-Range", "none")
    follows = span.startswith(f"bytes {start}-") or span == f"bytes */{start}"
    if answer.status_code == 200 or follows:
        return answer
    answer.close()
    said = f"{url} answers {answer.status_code} {answer.reason}"
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _TransientError(said)
    if answer.status_code in (206, 416):
        raise OSError(f"{said}, the range {span}, not what follows {part}; remove that part")
    raise OSError(f"{said}; open it in a browser to see whether it has moved")


def _content_length(answer: requests.Response) -> int | None:
    """Bytes of the whole file, by the server's word."""
    resumed = answer.headers.get("Content-Range", "").rpartition("/")[2]
    total = resumed or answer.headers.get("Content-Length", "")
    return int(total) if total.isdecimal() else None


def _write_body(answer: requests.Response, part: Path, expected: int | None) -> None:
    """Write what comes behind the part, or in its place where the server did not resume."""
    mode = "ab" if answer.status_code == 206 else "wb"
    with part.open(mode) as stream, _progress_bar(part.stem, expected, done=stream.tell()) as bar:
        try:
            for piece in answer.iter_content(_CHUNK_SIZE):
                stream.write(piece)
                bar.update(len(piece))
                if expected is not None and stream.tell() > expected:
                    return
        except requests.RequestException as error:
            raise _TransientError(f"{answer.url} breaks off") from error


def _publish(part: Path, file: Path) -> None:
    """Give a whole part its name, such that no loss of power leaves an empty file under it."""
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _file_size(file: Path) -> int:
    """Bytes that are there."""
    return file.stat().st_size if file.exists() else 0


def _parse_checksum(checksum: str) -> tuple[str, str]:
    """The halves of a checksum."""
    found = re.fullmatch(r"(md5|sha256):([0-9a-f]{8,})", checksum)
    if not found:
        raise ValueError(
            f"the checksum {checksum!r} is not md5: or sha256: and 8 or more hexadecimal digits"
        )
    return found[1], found[2]


def _compute_digest(file: Path, algorithm: str) -> str:
    """Hexadecimal digits of a file's checksum."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with (
        file.open("rb") as stream,
        _progress_bar(f"{algorithm} of {file.name}", _file_size(file)) as bar,
    ):
        while piece := stream.read(_CHUNK_SIZE):
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()


def _progress_bar(name: str, total: int | None, *, done: int = 0) -> tqdm:
    """Progress in bytes, on a terminal only."""
    return tqdm(desc=name, total=total, initial=done, unit="B", unit_scale=True, disable=None)
