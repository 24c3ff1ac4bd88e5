"""This file reads what a result file says of its people beside their keypoints and score."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tagpose.evaluation.rows import Row, score_key
from tagpose.skeleton import Skeleton


class Claims(NamedTuple):
    """By image id, in the order of `from_rows`; an image without an entry claims nothing."""

    areas: Mapping[int, np.ndarray]  # [P] of the boxes, square image pixels
    scores: Mapping[int, np.ndarray]  # [P, Q] a score for each part


NO_CLAIMS: Final = Claims(MappingProxyType({}), MappingProxyType({}))


def read_claims(rows: Sequence[Row], skeleton: Skeleton) -> Claims:
    """What rows claim.

    Where rows have a `bbox`, the official evaluation takes a detection's area from it; images with
    a row that has none are left out. Where they have a `foot_score` and the like, it ranks the
    detections of that part by them, and by the `score` elsewhere; the body has no other than that.

    Raises:
        ValueError: a box is not left, top, width, height, or a number is not finite.
    """
    without = {row["image_id"] for row in rows if not row.get("bbox")}
    areas, scores = defaultdict(list), defaultdict(list)
    for place, row in enumerate(rows):
        here = f"image {row['image_id']}, row {place}"
        if row["image_id"] not in without:
            _, _, width, height = _finite(row["bbox"], 4, f"{here}: the bbox")
            areas[row["image_id"]].append(width * height)
        keys = [score_key(part, skeleton) for part in skeleton.parts]
        said = [row.get(key, row["score"]) for key in keys]
        scores[row["image_id"]].append(_finite(said, len(said), f"{here}: the scores of parts"))
    return Claims(
        {image_id: np.array(some) for image_id, some in areas.items()},
        {image_id: np.stack(some) for image_id, some in scores.items()},
    )


def _finite(numbers: object, count: int, what: str) -> np.ndarray:
    """Numbers [count] float64."""
    try:
        values = np.array(numbers, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{what}: {numbers}, not {count} finite numbers")
    return values
