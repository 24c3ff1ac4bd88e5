"""Clean copies of annotation files, without images that have any error.

The copy is read as strictly as any other file. An image is left out as a whole if one of its people
cannot be read: otherwise the network would learn that there is background where that person is.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.array_cache import cache_paths
from tagpose.data.coco_fields import parse_id
from tagpose.data.coco_file import Row, read_unchecked
from tagpose.data.coco_schema import ReadRules
from tagpose.data.issues import Issue, IssueType, Severity
from tagpose.data.quality.dataset_checks import check_dataset_file
from tagpose.io import atomic_write
from tagpose.locks import exclusive_lock

_FILE_ERRORS: Final = (IssueType.CATEGORY, IssueType.CATEGORY_SIZE, IssueType.NORMALIZED)
_LISTING: Final = "skipped_images.txt"
_COUNTS: Final = "counts.json"


class CleanCopy(NamedTuple):
    """A clean copy of an annotation file."""

    file: Path
    num_images: int  # images with distinct readable ids in the original
    num_kept: int
    listing: Path  # all errors that led to omissions, one per line
    is_new: bool  # False if the copy existed before


def make_clean_copy(file: Path, folder: Path, rules: ReadRules) -> CleanCopy:
    """Copy an annotation file without images that have errors.

    The copy is cached until the annotation file or an image changes. If several processes of a
    machine need it at once, one of them makes it and the others wait.

    Args:
        file: annotation file.
        folder: folder of the images, all of which are decoded.
        rules: data that must be free of errors; errors in other data are ignored.

    Raises:
        FileNotFoundError: the annotation file is missing.
        ValueError: the file is not complete JSON, or every image has an error.
        OSError: the copy cannot be written.
    """
    dependencies = (
        dict(rules.skeleton.json_keys),
        rules.skeleton.keypoints,
        tuple(rules.options),
        rules.with_areas,
    )
    folders = cache_paths(
        file, f"{rules.skeleton.name}-clean", (dependencies, list(_image_states(folder)))
    )
    with exclusive_lock(folders):
        for cached in folders:
            if (cached / _COUNTS).exists():
                num_images, num_kept = json.loads((cached / _COUNTS).read_bytes())
                return CleanCopy(
                    cached / file.name, num_images, num_kept, cached / _LISTING, is_new=False
                )
        return _build_copy(file, folder, rules, folders)


def _build_copy(file: Path, folder: Path, rules: ReadRules, folders: Sequence[Path]) -> CleanCopy:
    """Write a clean copy to the first writable folder; see `make_clean_copy`."""
    content = read_unchecked(file)
    clean, errors = _remove_faulty_images(content, file, folder, rules)
    lines = [f"{issue.where} {issue.detail}" for issue in errors]
    num_images, num_kept = (
        len({parse_id(row.get("id")) for row in rows["images"] if isinstance(row, dict)} - {None})
        for rows in (content, clean)
    )
    if not num_kept:
        reason = f"the first error is: {lines[0]}" if lines else "it has no images"
        raise ValueError(
            f"{file} has no image without errors ({reason}); `tagpose data check` lists all errors"
        )
    target = _write_copy(folders, file.name, clean, lines, (num_images, num_kept))
    return CleanCopy(target / file.name, num_images, num_kept, target / _LISTING, is_new=True)


def _image_states(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of change of all files below a folder in a fixed order."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if not entry.name.startswith("."):  # caches, such as this copy
                    yield from _image_states(Path(entry.path))
            else:
                yield entry.name, entry.stat().st_size, entry.stat().st_mtime_ns


def _remove_faulty_images(
    content: Row, file: Path, folder: Path, rules: ReadRules
) -> tuple[Row, Sequence[Issue]]:
    """Return the content without images that have errors, and those errors.

    Raises:
        ValueError: an error affects the whole file.
    """
    log = check_dataset_file(content, file, folder, rules, read_pixels=True).coco.log
    errors = [
        issue
        for type_, issues in log.issues.items()
        for issue in issues
        if type_.severity is Severity.ERROR
    ]
    if any(issue.type in _FILE_ERRORS for issue in errors):
        log.raise_error()
    faulty_ids = {None, *(image_id for issue in errors for image_id in issue.image_ids)}
    clean = {
        name: [
            row
            for row in content[name]
            if isinstance(row, dict) and parse_id(row.get(id_field)) not in faulty_ids
        ]
        for name, id_field in (("images", "id"), ("annotations", "image_id"))
    }
    return content | clean, errors


def _write_copy(
    folders: Sequence[Path], name: str, clean: Row, lines: list[str], counts: tuple[int, int]
) -> Path:
    """Write a copy into the first writable folder, and return that folder."""
    contents = {
        name: json.dumps(clean),
        _LISTING: "".join(f"{line}\n" for line in lines),
        _COUNTS: json.dumps(counts),  # last, because its existence marks the copy as complete
    }
    for folder in folders:
        try:
            for file_name, text in contents.items():
                with atomic_write(folder / file_name) as partial:
                    partial.write_text(text)
            return folder
        except OSError as error:
            last_error = error
    raise OSError(
        f"a copy of {name} without errors cannot be written ({last_error}); set XDG_CACHE_HOME to "
        "a writable folder"
    )
