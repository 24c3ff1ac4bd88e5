"""Match the images of a result file to those of the ground truth."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tagpose.data.coco_fields import parse_id
from tagpose.evaluation.coco_results import CocoResult
from tagpose.evaluation.ground_truth import GroundTruth
from tagpose.structures import is_int64


def match_image_ids(
    results: Sequence[CocoResult], ground_truth: GroundTruth, file: Path
) -> list[CocoResult]:
    """Replace image ids that are strings by the integer ids of the ground truth.

    A string is either an id or, as in AlphaPose's results, the name of an image file, with or
    without folders and extension.

    Args:
        results: records of a result file.
        ground_truth: ground truth with the names of its image files.
        file: result file, for error messages.

    Raises:
        ValueError: if a string is neither an id nor a file name of the ground truth.
    """
    if all(is_int64(result.get("image_id")) for result in results):
        return list(results)
    known_ids, ids_by_name = set(ground_truth.image_ids.tolist()), ids_by_file_name(ground_truth)
    matched = []
    for row, result in enumerate(results):
        value = result.get("image_id")
        image_id = parse_id(value)
        if image_id not in known_ids and isinstance(value, str):
            image_id = _find_by_name(value, ids_by_name)
            if image_id is None:
                raise ValueError(
                    f"{file}: image_id {value!r} of row {row} is neither an id nor a file_name of "
                    "the ground truth; use results and annotations of the same images"
                )
        matched.append(result if image_id is None else result | {"image_id": image_id})
    return matched


def describe_missing(ground_truth: GroundTruth, image_ids: Sequence[int] | np.ndarray) -> str:
    """Return a warning about images without predictions, or "" if all images have some.

    Args:
        ground_truth: all images of the evaluation.
        image_ids: ids of the images with predictions.
    """
    missing = ~np.isin(ground_truth.image_ids, image_ids)
    if not missing.any():
        return ""
    people = int((missing[ground_truth.image] & ~ground_truth.crowd).sum())
    return (
        f"{int(missing.sum())} of {len(missing)} images of the ground truth have no predictions; "
        f"the people annotated in them ({people}) count as false negatives"
    )


def find_image_id(name: str, ids: Mapping[str, int], known_ids: Container[int]) -> int | None:
    """Return the id of the image with this file name, otherwise the name itself if it is an id.

    Args:
        name: file name, with or without folders and extension.
        ids: result of `ids_by_file_name`.
        known_ids: ids of the ground truth.

    Returns:
        The id, or None if there is no such image.
    """
    by_name, by_id = _find_by_name(name, ids), parse_id(name)
    if by_name is not None:
        return by_name
    return by_id if by_id in known_ids else None


def ids_by_file_name(ground_truth: GroundTruth) -> dict[str, int]:
    """Return image ids by file name variant, without variants that several images share."""
    ids: dict[str, int] = {}
    ambiguous: set[str] = set()
    for image_id, name in zip(ground_truth.image_ids.tolist(), ground_truth.files, strict=False):
        for variant in dict.fromkeys(_file_name_variants(name)) if name else ():
            if ids.setdefault(variant, image_id) != image_id:
                ambiguous.add(variant)
    return {name: image_id for name, image_id in ids.items() if name not in ambiguous}


def _find_by_name(name: str, ids: Mapping[str, int]) -> int | None:
    """Return the id of the first variant of a file name that has one, or None."""
    return next((ids[variant] for variant in _file_name_variants(name) if variant in ids), None)


def _file_name_variants(name: str) -> tuple[str, str, str]:
    """Return a file name in full, without folders, and without folders and extension."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path), path.name, path.stem


def assign_image_ids(files: list[Path]) -> dict[Path, int]:
    """Return the image ids of files: the numbers in COCO's file names, or 1, 2, ..."""
    if all(file.stem.isdecimal() for file in files):
        ids = {file: int(file.stem) for file in files}
        if len(set(ids.values())) == len(files):
            return ids
    return {file: number for number, file in enumerate(files, start=1)}
