"""Images that are in both the training set and the validation set."""

import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from tagpose.data.annotations import Annotations
from tagpose.data.issues import IssueLog, IssueType, emit_warnings


def warn_of_shared_images(train: Annotations, val: Annotations, file: Path) -> None:
    """Warn if some image files are in both train and val.

    Args:
        train: annotations of the training set.
        val: annotations of the validation set.
        file: annotation file of the training set, for the message.
    """
    log = IssueLog(file, max_kept=1)
    log_shared_images(_image_paths(train), _image_paths(val), log)
    emit_warnings(log.warning_lines())


def log_shared_images(
    train: Sequence[str], val: Sequence[str], log: IssueLog, *, content: bool = False
) -> None:
    """Log image files that are in both train and val.

    Args:
        train: image paths of the training set.
        val: image paths of the validation set.
        log: log that receives the issue.
        content: whether copies of a file count as the same image; files of equal size are read.
    """
    train_paths = _by_path(train)
    shared = [file for path, file in _by_path(val).items() if path in train_paths]
    if content:
        train_digests = _files_by_digest(train, _sizes(val))
        copies = (
            file
            for digest, file in _files_by_digest(val, _sizes(train)).items()
            if digest in train_digests
        )
        shared += [file for file in copies if file not in shared]
    if shared:
        detail = f"has {min(shared)} in both"
        log.add(IssueType.SHARED_IMAGES, "the dataset", detail, count=len(shared))


def _image_paths(annotations: Annotations) -> list[str]:
    """Return the paths of all images."""
    return [f"{annotations.folder}/{name}" for name in annotations.files.tolist()]


def _by_path(files: Iterable[str]) -> dict[str, str]:
    """Return files by their paths with links to folders resolved."""
    split = {file: file.rpartition("/") for file in files}
    folders = {parent: os.path.realpath(parent) for parent, _, _ in split.values()}
    return {f"{folders[parent]}/{name}": file for file, (parent, _, name) in split.items()}


def _sizes(files: Iterable[str]) -> set[int]:
    """Return the sizes of files in bytes."""
    return {Path(file).stat().st_size for file in files}


def _files_by_digest(files: Iterable[str], sizes: set[int]) -> dict[bytes, str]:
    """Return the files of given sizes by the digest of their content."""
    candidates = (file for file in files if Path(file).stat().st_size in sizes)
    return {sha256(Path(file).read_bytes()).digest(): file for file in candidates}
