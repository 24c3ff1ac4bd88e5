"""Match the images of a result file to those of the ground truth."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tagpose.data.coco_fields import parse_id
from tagpose.evaluation.rows import Row
from tagpose.evaluation.truth import Truth
from tagpose.structures import is_whole


def match_image_ids(rows: Sequence[Row], truth: Truth, file: Path) -> list[Row]:
    """Return rows whose image ids are numbers of the ground truth.

    A text is an id of the ground truth, or the name of an image file as AlphaPose writes it, with
    or without folders and ending.

    Args:
        rows: of a result file.
        truth: with the names of its image files.
        file: of the rows, for messages.

    Raises:
        ValueError: a text is neither.
    """
    if all(is_whole(row.get("image_id")) for row in rows):
        return list(rows)
    known, names = set(truth.image_ids.tolist()), _ids_of_names(truth)
    matched = []
    for place, row in enumerate(rows):
        said = row.get("image_id")
        image_id = parse_id(said)
        if image_id not in known and isinstance(said, str):
            image_id = next((names[name] for name in _names(said) if name in names), None)
            if image_id is None:
                raise ValueError(
                    f"{file}: row {place} is of image {said!r}, which is neither an id nor a "
                    "file_name of the ground truth; were both made from the same images?"
                )
        matched.append(row if image_id is None else row | {"image_id": image_id})
    return matched


def describe_missing(truth: Truth, image_ids: Sequence[int] | np.ndarray) -> str:
    """Return a sentence on images without a prediction, "" where each has one.

    Args:
        truth: of all images that count.
        image_ids: of the predictions.
    """
    without = ~np.isin(truth.image_ids, image_ids)
    if not without.any():
        return ""
    missed = int((without[truth.image] & ~truth.crowd).sum())
    return (
        f"{int(without.sum())} of {len(without)} images of the ground truth have no prediction; "
        f"the {missed} people in them count as missed"
    )


def _ids_of_names(truth: Truth) -> dict[str, int]:
    """Return image ids by names that only one image has."""
    ids: dict[str, int] = {}
    shared: set[str] = set()
    for image_id, name in zip(truth.image_ids.tolist(), truth.files, strict=False):
        for one in dict.fromkeys(_names(name)) if name else ():
            if ids.setdefault(one, image_id) != image_id:
                shared.add(one)
    return {name: image_id for name, image_id in ids.items() if name not in shared}


def _names(name: str) -> tuple[str, str, str]:
    """Return a file name as it is, without folders, and without folders and ending."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path), path.name, path.stem
