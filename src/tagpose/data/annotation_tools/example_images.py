"""Choice of example images that show the keypoints of a draft."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.data.annotation_tools.source_dataset import Row, id_key
from tagpose.data.coco_fields import to_posix_path
from tagpose.data.image_files import ImageFolder
from tagpose.data.images import load_image, read_annotated_image


class ExampleImage(NamedTuple):
    """An image and its people."""

    name: str
    image: np.ndarray  # [H, W, 3] uint8 RGB
    keypoints: np.ndarray  # [P, K, 3] x, y in image pixels, v
    best: int  # index of the most completely labeled person


def choose_examples(
    images: Sequence[Row], annotations: Sequence[Row], folder: Path, size: int, number: int
) -> list[ExampleImage]:
    """Return the images with the most completely labeled people; ties are broken by size.

    Args:
        images: rows of a COCO file.
        annotations: rows of the same file, of one category.
        folder: folder of the images.
        size: number K of keypoints.
        number: maximum number of examples.

    Raises:
        ValueError: an image cannot be read, or no annotation has K keypoints.
    """
    people = defaultdict(list)
    for row in annotations:
        keypoints = annotation_keypoints(row, size)
        if keypoints is not None:
            people[id_key(row.get("image_id"))].append(keypoints)
    if not people:
        raise ValueError(
            f"no annotation has 3 numbers for each of the {size} keypoints of its category; check "
            "that annotations and category belong together"
        )
    best = {
        image_id: max(map(_label_completeness, image_people))
        for image_id, image_people in people.items()
    }
    rows = {id_key(row["id"]): row for row in images}
    order = sorted((i for i in best if i in rows), key=best.__getitem__, reverse=True)
    image_folder = ImageFolder(folder)
    names = {i: image_folder.find(to_posix_path(rows[i]["file_name"])) for i in order}
    examples = []
    for i, name in [(i, name) for i, name in names.items() if name][:number]:
        ranks = [_label_completeness(person) for person in people[i]]
        image = _read_upright(folder / name, rows[i])
        examples.append(ExampleImage(name, image, np.stack(people[i]), ranks.index(max(ranks))))
    return examples


def annotation_keypoints(annotation: Row, size: int) -> np.ndarray | None:
    """Return the keypoints [K, 3] of an annotation, flat or nested; None if they are not `size`."""
    try:
        flat = np.array(annotation.get("keypoints"), float).ravel()
    except (TypeError, ValueError):
        return None
    return flat.reshape(-1, 3) if flat.size == 3 * size and np.isfinite(flat).all() else None


def _label_completeness(person: np.ndarray) -> tuple[int, float]:
    """Return the number of labeled keypoints of a person [K, 3] and their extent in pixels."""
    points = person[person[:, 2] > 0, :2]
    return len(points), float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def _read_upright(file: Path, row: Row) -> np.ndarray:
    """Read an image as stored, or upright if only then its size is the stated one."""
    stored = read_annotated_image(file)
    stated_size = (row.get("height"), row.get("width"))
    upright = load_image(file) if stored.shape[:2] != stated_size else stored
    return upright if upright.shape[:2] == stated_size else stored
