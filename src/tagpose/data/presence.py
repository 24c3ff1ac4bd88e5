"""This file sees that the images of a data set are there, before anything slow begins."""

import os
from collections.abc import Sequence
from pathlib import Path


def check_present(folder: Path, names: Sequence[str], file: Path) -> None:
    """See that every image is there, by one listing of each folder.

    Args:
        folder: of the images.
        names: of the images in the folder or in folders below.
        file: that names them.

    Raises:
        FileNotFoundError: one is not.
    """
    # texts and no Paths: those of all COCO take seconds
    split = [name.rpartition("/") for name in names]
    there = {parent: _names_in(folder / parent) for parent in {parent for parent, _, _ in split}}
    missing = [
        name
        for name, (parent, _, last) in zip(names, split, strict=True)
        if last not in there[parent]
    ]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of the images in {file}, {missing[0]} the first; "
            "put the images there, or point data.root to where they are"
        )


def _names_in(folder: Path) -> set[str]:
    """What lies in a folder; nothing does where there is none."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (OSError, ValueError):  # no folder can have such a name
        return set()
