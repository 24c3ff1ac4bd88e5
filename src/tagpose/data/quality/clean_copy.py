"""This file makes a clean copy of annotations: without the images of which anything is broken.

What reads the copy is as strict as ever. An image of which one person cannot be read is left out
as a whole: the network would learn that nobody is where that person is.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.cache import cache_paths, exclusive_lock
from tagpose.data.coco_fields import parse_id
from tagpose.data.coco_file import Row, read_unchecked
from tagpose.data.coco_schema import ReadRules
from tagpose.data.issue_log import Issue
from tagpose.data.issue_types import IssueType, Severity
from tagpose.data.quality.inspection import check_dataset_file
from tagpose.io import atomic_write

_FILE_ERRORS: Final = (IssueType.CATEGORY, IssueType.CATEGORY_SIZE)
_LISTING: Final = "skipped_images.txt"
_COUNTS: Final = "counts.json"


class CleanCopy(NamedTuple):
    """A clean copy of annotations."""

    file: Path
    num_images: int  # of the original that can be told apart
    num_kept: int
    listing: Path  # every error for which something is left out, line by line
    is_new: bool  # whether it was not there before


def make_clean_copy(file: Path, folder: Path, rules: ReadRules) -> CleanCopy:
    """The copy of a file without what is broken, made once for each state of file and pictures.

    Of processes of one machine that want it at once, one makes it and the others wait.

    Args:
        file: of the annotations.
        folder: of the images, each of which is read whole.
        rules: what must be sound; an image is not left out for what is not needed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no whole JSON, or no image of it is sound.
        OSError: the copy can be written nowhere.
    """
    state = [
        (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
        for entry in _walk_files(folder)
    ]
    dependencies = (
        dict(rules.skeleton.json_keys),
        rules.skeleton.keypoints,
        tuple(rules.options),
        rules.with_areas,
    )
    known = cache_paths(file, f"{rules.skeleton.name}-clean", (dependencies, state))
    with exclusive_lock(known):
        for place in known:
            if (place / _COUNTS).exists():
                images, kept = json.loads((place / _COUNTS).read_bytes())
                return CleanCopy(place / file.name, images, kept, place / _LISTING, is_new=False)
        return _build_copy(file, folder, rules, known)


def _build_copy(file: Path, folder: Path, rules: ReadRules, known: Sequence[Path]) -> CleanCopy:
    """A clean copy in one of the places; raises what `make_clean_copy` does."""
    content = read_unchecked(file)
    left, errors = _remove_faulty_images(content, file, folder, rules)
    lines = [f"{issue.where} {issue.detail}" for issue in errors]
    images, kept = (
        len({parse_id(row.get("id")) for row in rows["images"] if isinstance(row, dict)} - {None})
        for rows in (content, left)
    )
    if not kept:
        first = lines[0] if lines else "that it has none"
        raise ValueError(f"{file}: no image is without errors; the first error is: {first}")
    place = _write_copy(known, file.name, left, lines, (images, kept))
    return CleanCopy(place / file.name, images, kept, place / _LISTING, is_new=True)


def _walk_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The files of a folder, and of those below it."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if not entry.name.startswith("."):  # as caches do, and this copy
                    yield from _walk_files(Path(entry.path))
            else:
                yield entry


def _remove_faulty_images(
    content: Row, file: Path, folder: Path, rules: ReadRules
) -> tuple[Row, Sequence[Issue]]:
    """What is left of a file, and the errors for which something is not.

    Raises:
        ValueError: an error is of the whole file.
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
    bad = {None, *(image_id for issue in errors for image_id in issue.image_ids)}
    kept = {"images": "id", "annotations": "image_id"}
    left = {
        name: [
            row
            for row in content[name]
            if isinstance(row, dict) and parse_id(row.get(key)) not in bad
        ]
        for name, key in kept.items()
    }
    return content | left, errors


def _write_copy(
    known: Sequence[Path], name: str, kept: Row, lines: list[str], count: tuple[int, int]
) -> Path:
    """Write the copy into the first of the folders that can be written, and say where that is."""
    for place in known:
        try:
            with atomic_write(place / name) as partial:
                partial.write_text(json.dumps(kept))
            with atomic_write(place / _LISTING) as partial:
                partial.write_text("".join(f"{line}\n" for line in lines))
            with atomic_write(
                place / _COUNTS
            ) as partial:  # last: it says that the others are whole
                partial.write_text(json.dumps(count))
            return place
        except OSError as error:
            trouble = error
    raise OSError(f"a clean copy of {name} can be written nowhere ({trouble})")
