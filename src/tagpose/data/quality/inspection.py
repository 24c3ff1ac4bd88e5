"""Inspection of a dataset: statistics and issues of its files, and representative samples."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagpose.data.annotations import Annotations
from tagpose.data.coco_file import read_unchecked
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, ReadRules
from tagpose.data.datamodule import PoseDataModule
from tagpose.data.datasets import TrainDataset, ValDataset
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
from tagpose.data.samplers import SampleKey
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import Sample


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


def format_issues(log: IssueLog, max_examples: int) -> Iterator[str]:
    """Yield lines that list the issues by type, the most severe and most frequent types first.

    Args:
        log: issues of a file.
        max_examples: number of issues to list per type.
    """
    order = {type_: position for position, type_ in enumerate(IssueType)}
    severities = list(Severity)
    for type_ in sorted(
        log.issues,
        key=lambda t: (severities.index(t.severity), -log.counts[t], order[t]),
    ):
        yield f"{type_.severity.value}: {log.counts[type_]} x {type_.description}: {type_.advice}"
        issues = log.issues[type_][:max_examples]
        yield from (f"    {issue.where} {issue.detail}" for issue in issues)
        if len(issues) < log.counts[type_]:
            yield f"    and {log.counts[type_] - len(issues)} more"


def summarize_issues(inspection: Inspection) -> str:
    """Return the number of issues of each severity as text."""
    counts = dict.fromkeys(Severity, 0)
    for type_, number in inspection.log.counts.items():
        counts[type_.severity] += number
    texts = (f"{severity.value}: {number}" for severity, number in counts.items() if number)
    return ", ".join(texts) or "no issues"


def load_train_samples(data: PoseDataModule, number: int) -> list[Sample]:
    """Load augmented samples of the first training epoch.

    Args:
        data: data module.
        number: number of samples.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the annotations or an image cannot be read.
    """
    annotations = data.read_split(data.train_split, only_annotated=True)
    dataset = TrainDataset(annotations, data.transforms, seed=data.seed)
    return [dataset[SampleKey(0, i)] for i in pick_samples(annotations, number, data.seed)]


def load_val_samples(data: PoseDataModule, number: int) -> list[Sample]:
    """Load whole images as validation does.

    Args:
        data: data module.
        number: number of samples.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the annotations or an image cannot be read.
    """
    annotations = data.read_split(data.val_split, only_annotated=False)
    dataset = ValDataset(annotations, data.input_size)
    return [dataset[i] for i in pick_samples(annotations, number, data.seed)]


def pick_samples(annotations: Annotations, number: int, seed: int) -> list[int]:
    """Draw image indices: preferably with people, and half of them also with an ignored region.

    Args:
        annotations: annotations to draw from.
        number: number of images; all are returned if there are fewer.
        seed: seed of the random order.
    """
    order = np.random.default_rng(seed).permutation(len(annotations))
    has_people = np.diff(annotations.offsets)[order] > 0
    has_mask = np.isin(annotations.image_ids[order], list(annotations.ignored))
    masked = order[has_people & has_mask][: number // 2]
    rest = order[np.argsort(~has_people, kind="stable")]
    return list(dict.fromkeys([*masked.tolist(), *rest.tolist()]))[:number]
