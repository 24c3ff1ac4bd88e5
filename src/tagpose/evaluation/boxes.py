"""This file reads how large detections are, where a result file says it."""

from collections import defaultdict

import numpy as np

from tagpose.evaluation.rows import Row


def box_areas(rows: list[Row]) -> dict[int, np.ndarray]:
    """Areas [P] of the people's boxes by image id, in the order of `from_rows`.

    Where rows have a `bbox`, the official evaluation takes a detection's area from it; images with
    a row that has none are left out.

    Raises:
        ValueError: a box is not left, top, width, height, or not finite.
    """
    without = {row["image_id"] for row in rows if not row.get("bbox")}
    areas: dict[int, list[float]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row["image_id"] not in without:
            areas[row["image_id"]].append(_area(row["bbox"], place))
    return {image_id: np.array(some) for image_id, some in areas.items()}


def _area(box: object, place: int) -> float:
    """Width times height of a box: left, top, width, height."""
    try:
        size = np.array(box, np.float64)
    except (TypeError, ValueError):
        size = np.empty(0)
    if size.shape != (4,) or not np.isfinite(size).all():
        raise ValueError(f"row {place}: the bbox is {box}, not 4 finite numbers")
    return float(size[2] * size[3])
