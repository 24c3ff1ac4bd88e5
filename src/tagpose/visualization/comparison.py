"""Pictures of predictions next to the ground truth."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from tagpose.data.annotations import ImageRecord, load_record_image
from tagpose.data.image_files import write_image
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Poses
from tagpose.visualization.image_grid import make_image_grid, make_image_row
from tagpose.visualization.poses import draw_ground_truth

DrawFunction: TypeAlias = Callable[[np.ndarray, Poses], np.ndarray]

_TITLES: Final = ("ground truth", "prediction")
_COLUMNS: Final = 6  # panels in a row of people.png


def write_comparisons(
    folder: Path,
    records: Sequence[ImageRecord],
    predictions: Mapping[int, Poses],
    skeleton: Skeleton,
    draw: DrawFunction,
) -> None:
    """Write a picture of each record to `pictures/`, and all of them to `people.png`.

    Args:
        folder: output folder.
        records: annotated images, at least one.
        predictions: predicted poses by image id, in image pixels.
        skeleton: skeleton of the keypoints.
        draw: function that draws poses on an image [H, W, 3].
    """
    panels: list[np.ndarray] = []
    for record in records:
        image = load_record_image(record)
        pair = [
            draw_ground_truth(image, record.keypoints, skeleton),
            draw(image, predictions[record.image_id]),
        ]
        panels += pair
        picture = make_image_row(pair, _TITLES)
        write_image(folder / "pictures" / f"{record.file.stem}.png", picture)
    parts = [panels[i : i + _COLUMNS] for i in range(0, len(panels), _COLUMNS)]
    rows = [make_image_row(part, _TITLES * (len(part) // 2)) for part in parts]
    write_image(folder / "people.png", make_image_grid(rows))
