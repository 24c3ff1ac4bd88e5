"""Choose images that show whether a skeleton fits its annotations."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.data.annotation_tools.image_folder_search import find_in_folder
from tagpose.data.annotation_tools.source_dataset import Row, id_key
from tagpose.data.images import read_annotated_image
from tagpose.data.images import load_image


class ExampleImage(NamedTuple):
    """An image and its people."""

    name: str
    image: np.ndarray  # [H, W, 3] uint8 RGB
    keypoints: np.ndarray  # [P, K, 3]: x, y in image pixels, v
    best: int  # number of the most completely labelled person


def choose_examples(
    images: Sequence[Row], annotations: Sequence[Row], folder: Path, size: int, number: int
) -> list[ExampleImage]:
    """Return the images with the most completely labelled person; of equal ones the largest.

    Args:
        images: rows of a COCO file.
        annotations: rows of the same file, of one category.
        folder: of the images.
        size: number K of keypoints.
        number: of examples at most.

    Raises:
        ValueError: if an image cannot be read, or if no annotation has K keypoints.
    """
    people = defaultdict(list)
    for row in annotations:
        points = _parse_keypoints(row.get("keypoints"), size)
        if points is not None:
            people[id_key(row.get("image_id"))].append(points)
    if not people:
        raise ValueError(
            f"no annotation has 3 numbers for each of the {size} keypoints that its category names"
        )
    best = {i: max(map(completeness, found)) for i, found in people.items()}
    named = {id_key(row["id"]): row for row in images}
    order = sorted((i for i in best if i in named), key=best.__getitem__, reverse=True)
    rows = [(named[i], find_in_folder(folder, named[i]["file_name"])) for i in order]
    examples = []
    for row, name in [(row, name) for row, name in rows if name][:number]:
        found = people[id_key(row["id"])]
        ranks = [completeness(person) for person in found]
        first = ranks.index(max(ranks))
        examples.append(
            ExampleImage(name, _read_upright(folder / name, row), np.stack(found), first)
        )
    return examples


def completeness(person: np.ndarray) -> tuple[int, float]:
    """Rank a person [K, 3] by the labelled keypoints, then by the image pixels they extend over."""
    points = person[person[:, 2] > 0, :2]
    return len(points), float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def _parse_keypoints(values: object, size: int) -> np.ndarray | None:
    """Keypoints [K, 3] of an annotation, flat or nested; None if they are not K."""
    try:
        flat = np.array(values, float).ravel()
    except (TypeError, ValueError):
        return None
    return flat.reshape(-1, 3) if flat.size == 3 * size and np.isfinite(flat).all() else None


def _read_upright(file: Path, row: Row) -> np.ndarray:
    """An image as it is stored, or upright if only that has the size that the row states."""
    stored = read_annotated_image(file)
    stated = (row.get("height"), row.get("width"))
    upright = load_image(file) if stored.shape[:2] != stated else stored
    return upright if upright.shape[:2] == stated else stored
