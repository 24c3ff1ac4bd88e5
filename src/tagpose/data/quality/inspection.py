"""Inspection of a data set: statistics and issues of an annotation file and its images."""

from pathlib import Path
from typing import NamedTuple

from tagpose.data.annotation_arrays import pack_ignored_masks
from tagpose.data.coco_file import CocoFile, Row, check_rows, read_unchecked
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, ReadRules
from tagpose.data.image_lookup import fill_missing_sizes
from tagpose.data.issue_log import IssueLog
from tagpose.data.issue_types import IssueType, Severity
from tagpose.data.quality.annotation_checks import log_annotation_issues, log_implausible_areas
from tagpose.data.quality.dataset_statistics import DatasetStatistics, compute_statistics
from tagpose.data.quality.image_checks import log_file_issues
from tagpose.skeletons.skeleton import Skeleton


class Inspection(NamedTuple):
    """Statistics and issues of a data set."""

    description: str  # of the file
    coverage: DatasetStatistics
    log: IssueLog
    files: list[str]  # paths of the images that exist


class CheckedFile(NamedTuple):
    """Data read from an annotation file; its log has all issues."""

    coco: CocoFile
    files: list[str]  # paths of the images that exist


def inspect_dataset(
    file: Path,
    folder: Path,
    skeleton: Skeleton,
    *,
    read_pixels: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Inspection:
    """Compute the statistics of a data set and collect all of its issues.

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
        coco.log.add(IssueType.UNLABELLED, "the file", detail)
    return Inspection(coco.description, compute_statistics(coco, skeleton), coco.log, files)


def check_dataset_file(
    content: Row, file: Path, folder: Path, rules: ReadRules, *, read_pixels: bool
) -> CheckedFile:
    """Check the rows of a file, the segmentations of ignored regions, and the image files.

    Args:
        content: JSON object of the annotation file.
        file: annotation file, for messages.
        folder: folder of the images.
        rules: data to read.
        read_pixels: whether images are decoded; see `log_file_issues`.
    """
    coco = check_rows(content, file, rules)
    # the log is discarded, because the image files are checked below
    images = fill_missing_sizes(folder, coco.images, IssueLog(file))
    coco = coco._replace(images=images)
    pack_ignored_masks(coco.annotations, images, coco.log)
    return CheckedFile(coco, log_file_issues(images, folder, coco.log, read_pixels=read_pixels))


def summarize_issues(inspection: Inspection) -> str:
    """Return the number of issues of each severity as text."""
    counts = dict.fromkeys(Severity, 0)
    for type_, number in inspection.log.counts.items():
        counts[type_.severity] += number
    texts = (f"{severity.value}: {number}" for severity, number in counts.items() if number)
    return ", ".join(texts) or "no issues"
