"""Images that training and validation share, by their paths or by their bytes."""

import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from tagpose.data.annotations import Annotations
from tagpose.data.issue_log import IssueLog, emit_warnings
from tagpose.data.issue_types import IssueType


def warn_of_shared_images(train: Annotations, val: Annotations, file: Path) -> None:
    """Warn if some image files are in both halves of a data set.

    Args:
        train: images that training learns from.
        val: images that it is judged on.
        file: annotations of training, for the message.
    """
    log = IssueLog(file, max_kept=1)
    log_shared_images(_image_paths(train), _image_paths(val), log)
    emit_warnings(log.warning_lines())


def log_shared_images(
    train: Sequence[str], val: Sequence[str], log: IssueLog, *, content: bool = False
) -> None:
    """Log image files that are in both halves of a data set.

    Args:
        train: paths of one half.
        val: paths of the other half.
        log: takes the issue.
        content: whether copies of a file are the same image; files of one size are read.
    """
    ours = _by_path(train)
    shared = [name for path, name in _by_path(val).items() if path in ours]
    if content:
        digests = _files_by_digest(train, _sizes(val))
        copies = (
            name
            for digest, name in _files_by_digest(val, _sizes(train)).items()
            if digest in digests
        )
        shared += [name for name in copies if name not in shared]
    if shared:
        what = f"has {min(shared)} in both"
        log.add(IssueType.SHARED_IMAGES, "the data set", what, count=len(shared))


def _image_paths(annotations: Annotations) -> list[str]:
    """Return the paths of all images."""
    return [f"{annotations.folder}/{name}" for name in annotations.files.tolist()]


def _by_path(files: Iterable[str]) -> dict[str, str]:
    """Return files by their paths, links to folders resolved."""
    split = {file: file.rpartition("/") for file in files}
    folders = {parent: os.path.realpath(parent) for parent, _, _ in split.values()}
    return {f"{folders[parent]}/{name}": file for file, (parent, _, name) in split.items()}


def _sizes(files: Iterable[str]) -> set[int]:
    """Return the sizes of files in bytes."""
    return {Path(file).stat().st_size for file in files}


def _files_by_digest(files: Iterable[str], sizes: set[int]) -> dict[bytes, str]:
    """Return the files that have one of some sizes, by the digest of their content."""
    alike = (file for file in files if Path(file).stat().st_size in sizes)
    return {sha256(Path(file).read_bytes()).digest(): file for file in alike}
