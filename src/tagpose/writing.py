"""This file puts files in their place whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A path to write to, with the file's ending; what was written has the file's name at the end.

    The file's folder is made. Whatever fails in between leaves an earlier file as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder: there a rename is atomic
    partial = file.with_name(f"{file.stem}.{os.getpid()}.tmp{file.suffix}")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
