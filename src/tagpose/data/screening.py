"""This file makes a sound copy of annotations: without the images of which anything is broken.

What reads the copy is as strict as ever. An image of which one person cannot be read is left out
as a whole: the network would learn that nobody is where that person is.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from tagpose.data.annotations import Row, read_lists
from tagpose.data.cache import alone, places
from tagpose.data.inspection.columns import Annotated, Images, lay_annotated, lay_images
from tagpose.data.inspection.files import file_faults
from tagpose.data.inspection.kinds import Fault, Kind
from tagpose.data.inspection.report import row_faults
from tagpose.skeleton import Skeleton
from tagpose.writing import whole

# What stops who reads or scores, or has the network learn something that is not so. The others do
# neither.
_HARMFUL: Final = frozenset(Kind) - {Kind.FLAG, Kind.OUTSIDE, Kind.BOX_PLACE, Kind.AREA}
_LISTING: Final = "left_out.txt"
_COUNT: Final = "sound.json"


class Sound(NamedTuple):
    """A sound copy of annotations."""

    file: Path
    images: int  # of the original that can be told apart
    kept: int
    listing: Path  # every fault for which something is left out, line by line
    fresh: bool  # whether it was not there before


def sound_copy(file: Path, folder: Path, skeleton: Skeleton) -> Sound:
    """The copy of a file without what is broken, made once for each state of file and pictures.

    Of processes of one machine that want it at once, one makes it and the others wait.

    Args:
        file: of the annotations.
        folder: of the images, each of which is read whole.
        skeleton: whose keypoints must be sound.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no whole JSON, or no image of it is sound.
        OSError: the copy can be written nowhere.
    """
    state = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in _in(folder)]
    known = places(file, f"{skeleton.name}-sound", (dict(skeleton.fields), state))
    with alone(known):
        for place in known:
            if (place / _COUNT).exists():
                images, kept = json.loads((place / _COUNT).read_bytes())
                return Sound(place / file.name, images, kept, place / _LISTING, fresh=False)
        return _made(file, folder, skeleton, known)


def _made(file: Path, folder: Path, skeleton: Skeleton, known: Sequence[Path]) -> Sound:
    """A sound copy in one of the places; raises what `sound_copy` does."""
    content = read_lists(file)
    left, lines = _screen(content, folder, skeleton)
    images, kept = len(lay_images(content["images"]).rows), len(left["images"])
    if not kept:
        first = lines[0] if lines else "that it has none"
        raise ValueError(f"{file}: no image is sound; the first fault is {first}")
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


def _screen(content: Row, folder: Path, skeleton: Skeleton) -> tuple[Row, list[str]]:
    """What is left of a file, and a line for each fault for which something is not."""
    kept, pixels = dict(content), True
    lines: list[str] = []
    while True:
        images = lay_images(kept["images"])
        annotated = lay_annotated(kept["annotations"], images, skeleton)
        faults = chain(
            row_faults(kept, images, annotated, skeleton),
            file_faults(images, folder, pixels=True) if pixels else (),
        )
        harmful = [fault for kind, fault in faults if kind in _HARMFUL]
        if not harmful:
            return kept, lines
        lines += [f"{fault.where}: {fault.what}" for fault in harmful]
        kept |= _without(harmful, images, annotated)
        pixels = False  # they have been read


def _without(faults: list[Fault], images: Images, annotated: Annotated) -> dict[str, list[Any]]:
    """The rows without those of faults, and of the images that they belong to."""
    of_image = annotated.image.tolist()  # -1 of none
    rows: dict[str, set[int]] = defaultdict(set)  # places of images, by what rows are found by
    for where, place in chain(
        zip(images.where, range(len(images.where)), strict=True),
        zip(annotated.where, of_image, strict=True),
    ):
        rows[where].add(place)
    wrong = [where for fault in faults for where in fault.where.split(", ")]
    named = {place for where in wrong for place in rows[where]}
    ids = {images.ids[place] for place in named if place >= 0}
    bad = {place for place, image_id in enumerate(images.ids) if place in named or image_id in ids}
    bad.add(-1)
    return {
        "images": [row for place, row in enumerate(images.rows) if place not in bad],
        "annotations": [
            row for row, place in zip(annotated.rows, of_image, strict=True) if place not in bad
        ],
    }


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
