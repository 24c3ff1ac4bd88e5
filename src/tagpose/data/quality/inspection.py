"""Inspection of a dataset: statistics and issues of its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tagpose.data.coco_file import read_unchecked
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, ReadRules
from tagpose.data.issues import IssueLog, IssueType, Severity
from tagpose.data.quality.dataset_checks import (
    check_dataset_file,
    log_annotation_issues,
    log_implausible_areas,
)
from tagpose.data.quality.dataset_statistics import (
    DatasetStatistics,
    PartSizes,
    compute_statistics,
    measure_parts,
)
from tagpose.skeletons.skeleton import Skeleton


class Inspection(NamedTuple):
    """Statistics and issues of a dataset."""

    description: str  # of the file
    coverage: DatasetStatistics
    log: IssueLog
    files: list[str]  # paths of the images that exist
    part_sizes: Mapping[str, PartSizes]


def inspect_dataset(
    file: Path,
    folder: Path,
    skeleton: Skeleton,
    *,
    read_pixels: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Inspection:
    """Compute the statistics of a dataset and collect all of its issues.

    Args:
        file: annotation file, COCO keypoints or COCO-WholeBody.
        folder: folder of the images.
        skeleton: skeleton to read; its parts determine the JSON keys.
        read_pixels: whether images are decoded; see `log_file_issues`.
        options: options of the reader.

    Raises:
        FileNotFoundError: the annotation file is missing.
        ValueError: it is not JSON, or has no lists of images and annotations.
    """
    content = read_unchecked(file)
    rules = ReadRules(skeleton, options)
    coco, files = check_dataset_file(content, file, folder, rules, read_pixels=read_pixels)
    log_annotation_issues(content["annotations"], coco, skeleton)
    log_implausible_areas(coco.annotations, coco.log)
    if not coco.annotations.trainable.any():
        detail = f"has {len(content['annotations'])} annotations, none with a labeled keypoint"
        coco.log.add(IssueType.UNLABELED, "the file", detail)
    return Inspection(
        description=coco.description,
        coverage=compute_statistics(coco, skeleton),
        log=coco.log,
        files=files,
        part_sizes=measure_parts(coco, skeleton),
    )


def summarize_issues(inspection: Inspection) -> str:
    """Return the number of issues of each severity as text."""
    counts = dict.fromkeys(Severity, 0)
    for type_, number in inspection.log.counts.items():
        counts[type_.severity] += number
    texts = (f"{severity.value}: {number}" for severity, number in counts.items() if number)
    return ", ".join(texts) or "no issues"
