"""This file makes a sound copy of annotations: without the images of which anything is broken.

What reads the copy is as strict as ever. An image of which one person cannot be read is left out
as a whole: the network would learn that nobody is where that person is.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.cache import alone, places
from tagpose.data.coco_fields import parse_id
from tagpose.data.coco_file import Row, read_lists
from tagpose.data.coco_schema import Rules
from tagpose.data.inspection.report import checked
from tagpose.data.issues import Issue, IssueType, Severity
from tagpose.writing import whole

_OF_THE_FILE: Final = (IssueType.CATEGORY, IssueType.CATEGORY_SIZE)
_LISTING: Final = "left_out.txt"
_COUNT: Final = "sound.json"


class Sound(NamedTuple):
    """A sound copy of annotations."""

    file: Path
    images: int  # of the original that can be told apart
    kept: int
    listing: Path  # every error for which something is left out, line by line
    fresh: bool  # whether it was not there before


def sound_copy(file: Path, folder: Path, rules: Rules) -> Sound:
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
    state = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in _in(folder)]
    facts = dict(rules.skeleton.fields), rules.skeleton.keypoints, tuple(rules.options), rules.areas
    known = places(file, f"{rules.skeleton.name}-sound", (facts, state))
    with alone(known):
        for place in known:
            if (place / _COUNT).exists():
                images, kept = json.loads((place / _COUNT).read_bytes())
                return Sound(place / file.name, images, kept, place / _LISTING, fresh=False)
        return _made(file, folder, rules, known)


def _made(file: Path, folder: Path, rules: Rules, known: Sequence[Path]) -> Sound:
    """A sound copy in one of the places; raises what `sound_copy` does."""
    content = read_lists(file)
    left, errors = _screen(content, file, folder, rules)
    lines = [f"{issue.where} {issue.what}" for issue in errors]
    images, kept = (
        len({parse_id(row.get("id")) for row in rows["images"] if isinstance(row, dict)} - {None})
        for rows in (content, left)
    )
    if not kept:
        first = lines[0] if lines else "that it has none"
        raise ValueError(f"{file}: no image is without errors; the first error is: {first}")
    place = _write(known, file.name, left, lines, (images, kept))
    return Sound(place / file.name, images, kept, place / _LISTING, fresh=True)


def _in(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The files of a folder, and of those below it."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if not entry.name.startswith("."):  # as caches do, and this copy
                    yield from _in(Path(entry.path))
            else:
                yield entry


def _screen(content: Row, file: Path, folder: Path, rules: Rules) -> tuple[Row, Sequence[Issue]]:
    """What is left of a file, and the errors for which something is not.

    Raises:
        ValueError: an error is of the whole file.
    """
    log = checked(content, file, folder, rules, pixels=True).coco.log
    errors = [
        issue
        for type_, issues in log.issues.items()
        for issue in issues
        if type_.severity is Severity.ERROR
    ]
    if any(issue.type in _OF_THE_FILE for issue in errors):
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


def _write(
    known: Sequence[Path], name: str, kept: Row, lines: list[str], count: tuple[int, int]
) -> Path:
    """Write the copy into the first of the folders that can be written, and say where that is."""
    for place in known:
        try:
            with whole(place / name) as partial:
                partial.write_text(json.dumps(kept))
            with whole(place / _LISTING) as partial:
                partial.write_text("".join(f"{line}\n" for line in lines))
            with whole(place / _COUNT) as partial:  # last: it says that the others are whole
                partial.write_text(json.dumps(count))
            return place
        except OSError as error:
            trouble = error
    raise OSError(f"a sound copy of {name} can be written nowhere ({trouble})")
