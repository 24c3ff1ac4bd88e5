"""Match the images of a result file to those of the ground truth."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tagpose.data.coco_fields import parse_id
from tagpose.evaluation.coco_results import CocoResult
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.structures import is_int64


def match_image_ids(
    results: Sequence[CocoResult], ground_truth: GroundTruth, file: Path
) -> list[CocoResult]:
    """Return results whose image ids are numbers of the ground truth.

    A text is an id of the ground truth, or the name of an image file as AlphaPose writes it, with
    or without folders and ending.

    Args:
        results: of a result file.
        ground_truth: with the names of its image files.
        file: of the results, for messages.

    Raises:
        ValueError: a text is neither.
    """
    if all(is_int64(result.get("image_id")) for result in results):
        return list(results)
    known, names = set(ground_truth.image_ids.tolist()), _ids_by_file_name(ground_truth)
    matched = []
    for place, result in enumerate(results):
        value = result.get("image_id")
        image_id = parse_id(value)
        if image_id not in known and isinstance(value, str):
            image_id = next((names[name] for name in _name_variants(value) if name in names), None)
            if image_id is None:
                raise ValueError(
                    f"{file}: row {place} is of image {value!r}, which is neither an id nor a "
                    "file_name of the ground truth; were both made from the same images?"
                )
        matched.append(result if image_id is None else result | {"image_id": image_id})
    return matched


def describe_missing(ground_truth: GroundTruth, image_ids: Sequence[int] | np.ndarray) -> str:
    """Return a sentence on images without a prediction, "" where each has one.

    Args:
        ground_truth: of all images that count.
        image_ids: of the predictions.
    """
    without = ~np.isin(ground_truth.image_ids, image_ids)
    if not without.any():
        return ""
    missed = int((without[ground_truth.image] & ~ground_truth.crowd).sum())
    return (
        f"{int(without.sum())} of {len(without)} images of the ground truth have no prediction; "
        f"the {missed} people in them count as missed"
    )


def _ids_by_file_name(ground_truth: GroundTruth) -> dict[str, int]:
    """Return image ids by names that only one image has."""
    ids: dict[str, int] = {}
    shared: set[str] = set()
    for image_id, name in zip(ground_truth.image_ids.tolist(), ground_truth.files, strict=False):
        for variant in dict.fromkeys(_name_variants(name)) if name else ():
            if ids.setdefault(variant, image_id) != image_id:
                shared.add(variant)
    return {name: image_id for name, image_id in ids.items() if name not in shared}


def _name_variants(name: str) -> tuple[str, str, str]:
    """Return a file name as it is, without folders, and without folders and ending."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path), path.name, path.stem
