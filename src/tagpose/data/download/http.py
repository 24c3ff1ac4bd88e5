"""Resumable HTTP downloads to FILE.part, which is renamed once it is complete and verified."""

import hashlib
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import requests
from tqdm import tqdm

from tagpose.io import check_free_space

_TIMEOUT: Final = (10, 60)  # seconds: to connect, and between two chunks
_RETRY_DELAYS: Final = (1, 2, 4, 8, 16)  # seconds before each retry
_CHUNK_SIZE: Final = 1 << 16  # bytes; small, because an interrupted chunk is lost


class _TransientError(ConnectionError):
    """Network or server error that a retry may resolve."""


def download_file(
    url: str,
    file: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    retry_delays: Sequence[float] = _RETRY_DELAYS,
) -> None:
    """Download a file, or verify it if it already exists.

    The download is written to FILE.part and renamed once it is complete and verified. An existing
    FILE.part is resumed. Only one process at a time may download a file.

    Args:
        url: address of the file.
        file: path of the downloaded file.
        size: expected size in bytes; None trusts the server.
        checksum: ALGORITHM:DIGITS, md5 or sha256, with at least the first 8 digits.
        retry_delays: seconds to wait before each retry after an interrupted connection; the number
            of entries is the number of retries. Retries start over whenever data arrives.

    Raises:
        ConnectionError: the server cannot be reached, or the connection keeps failing.
        OSError: the server refuses the request, or the disk is too full.
        ValueError: the existing or downloaded file does not have the expected size or checksum.
    """
    if checksum:
        _parse_checksum(checksum)
    part = part_file(file)
    if file.exists():
        remedy = f"remove it, or rename it to {part.name} if only its end is missing, and try again"
        verify_file(file, size=size, checksum=checksum, remedy=remedy)
        return
    check_free_space(file.parent, (size or 0) - _file_size(part))
    file.parent.mkdir(parents=True, exist_ok=True)
    _download_with_retries(url, part, size, retry_delays)
    _verify_part(part, size, checksum)
    _rename_durably(part, file)


def part_file(file: Path) -> Path:
    """Return the path that an incomplete download of a file is written to."""
    return file.with_name(f"{file.name}.part")


def verify_file(
    file: Path, *, size: int | None, checksum: str | None, remedy: str = "download it again"
) -> None:
    """Check the size and checksum of a file.

    Args:
        file: file to check.
        size: expected size in bytes; None skips the check.
        checksum: ALGORITHM:DIGITS; None skips the check.
        remedy: advice that ends the error message.

    Raises:
        ValueError: the size or the checksum differs.
    """
    actual_size = _file_size(file)
    if size is not None and actual_size != size:
        raise ValueError(f"{file} has {actual_size} bytes, expected {size}; {remedy}")
    if checksum:
        algorithm, digits = _parse_checksum(checksum)
        digest = _compute_digest(file, algorithm)
        if not digest.startswith(digits):
            raise ValueError(f"{file} has the {algorithm} {digest}, expected {digits}; {remedy}")


def _verify_part(part: Path, size: int | None, checksum: str | None) -> None:
    """Verify a completed download, and remove it if it is wrong."""
    try:
        remedy = "it has been removed; run the command again to download it from the start"
        verify_file(part, size=size, checksum=checksum, remedy=remedy)
    except ValueError:
        part.unlink()
        raise


def _download_with_retries(
    url: str, part: Path, size: int | None, retry_delays: Sequence[float]
) -> None:
    """Complete a partial download, reconnecting after interruptions."""
    longest, delays = _file_size(part), list(retry_delays)
    while True:
        try:
            _resume(url, part, size)
            return
        except _TransientError as error:
            # progress resets the retries, since a connection may drop many times during 19 GB
            if _file_size(part) > longest:
                longest, delays = _file_size(part), list(retry_delays)
            if not delays:
                raise ConnectionError(
                    f"{error} after {len(retry_delays) + 1} attempts; {_file_size(part)} bytes are "
                    f"in {part}, run the command again later to resume"
                ) from error
            tqdm.write(f"{error}; retrying in {delays[0]} s", file=sys.stderr)
            time.sleep(delays.pop(0))


def _resume(url: str, part: Path, size: int | None) -> None:
    """Download the missing rest of a partial file over one connection."""
    if size is not None and _file_size(part) >= size:
        return  # complete, or too long, which verification reports
    with _request(url, part) as response:
        if response.status_code == 416:
            return  # complete: interrupted while it was verified or renamed
        total = _content_length(response)
        if size is not None and total not in (None, size):
            raise ValueError(
                f"{url} has {total} bytes, expected {size}; open it in a browser to check "
                "whether the published file has changed"
            )
        _write_body(response, part, total or size)
    if _file_size(part) < (total or size or 0):
        raise _TransientError(f"connection to {url} was interrupted")


def _request(url: str, part: Path) -> requests.Response:
    """Request the bytes that follow a partial file, or all; the body is not read yet."""
    start = _file_size(part)
    # with compression, neither Range nor Content-Length would count the bytes of the file
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _TransientError(f"{url} cannot be reached") from error
    content_range = response.headers.get("Content-Range", "none")
    continues = content_range.startswith(f"bytes {start}-") or content_range == f"bytes */{start}"
    if response.status_code == 200 or continues:
        return response
    response.close()
    message = f"{url} returned {response.status_code} {response.reason}"
    if response.status_code == 429 or response.status_code >= 500:
        raise _TransientError(message)
    if response.status_code in (206, 416):
        raise OSError(
            f"{message} with the range {content_range}, which does not continue {part}; remove "
            "that file and run the command again"
        )
    raise OSError(f"{message}; open it in a browser to check whether it has moved")


def _content_length(response: requests.Response) -> int | None:
    """Return the size of the whole file in bytes as stated by the server."""
    range_total = response.headers.get("Content-Range", "").rpartition("/")[2]
    total = range_total or response.headers.get("Content-Length", "")
    return int(total) if total.isdecimal() else None


def _write_body(response: requests.Response, part: Path, expected: int | None) -> None:
    """Append the body to a partial file, or overwrite it if the server did not resume."""
    mode = "ab" if response.status_code == 206 else "wb"
    with part.open(mode) as stream, _progress_bar(part.stem, expected, done=stream.tell()) as bar:
        try:
            for chunk in response.iter_content(_CHUNK_SIZE):
                stream.write(chunk)
                bar.update(len(chunk))
                if expected is not None and stream.tell() > expected:
                    return
        except requests.RequestException as error:
            raise _TransientError(f"connection to {response.url} was interrupted") from error


def _rename_durably(part: Path, file: Path) -> None:
    """Rename a complete download so that a power loss cannot leave an empty file."""
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _file_size(file: Path) -> int:
    """Return the size of a file in bytes; 0 if it is missing."""
    return file.stat().st_size if file.exists() else 0


def _parse_checksum(checksum: str) -> tuple[str, str]:
    """Split a checksum into its algorithm and hexadecimal digits."""
    match = re.fullmatch(r"(md5|sha256):([0-9a-f]{8,})", checksum)
    if not match:
        raise ValueError(
            f"invalid checksum {checksum!r}; expected md5: or sha256: followed by at least 8 "
            "hexadecimal digits"
        )
    return match[1], match[2]


def _compute_digest(file: Path, algorithm: str) -> str:
    """Return the checksum of a file in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    name = f"{algorithm} of {file.name}"
    with file.open("rb") as stream, _progress_bar(name, _file_size(file)) as bar:
        while chunk := stream.read(_CHUNK_SIZE):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _progress_bar(name: str, total: int | None, *, done: int = 0) -> tqdm:
    """Return a progress bar in bytes that is shown on a terminal only."""
    return tqdm(desc=name, total=total, initial=done, unit="B", unit_scale=True, disable=None)
