"""Inspection of a data set: counts and issues of one annotation file and its images."""

from pathlib import Path
from typing import NamedTuple

from tagpose.data.annotation_arrays import pack_ignored_masks
from tagpose.data.coco_file import CocoFile, check_rows, read_unchecked
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, ReadRules
from tagpose.data.image_lookup import fill_missing_sizes
from tagpose.data.issue_log import IssueLog
from tagpose.data.issue_types import IssueType
from tagpose.data.quality.annotation_checks import log_annotation_issues, log_implausible_areas
from tagpose.data.quality.dataset_statistics import DatasetStatistics, compute_statistics
from tagpose.data.quality.image_checks import log_file_issues
from tagpose.skeletons.skeleton import Skeleton


class Inspection(NamedTuple):
    """What a data set has, and its issues."""

    description: str  # of the file
    coverage: DatasetStatistics
    log: IssueLog
    files: list[str]  # paths of the images that are there


class CheckedFile(NamedTuple):
    """What was read of a file, with all of its issues in the log."""

    coco: CocoFile
    files: list[str]  # paths of the images that are there


def inspect_dataset(
    file: Path,
    folder: Path,
    skeleton: Skeleton,
    *,
    read_pixels: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Inspection:
    """Count what a data set has and list all of its issues; no issue ends this.

    Args:
        file: of the annotations, COCO keypoints or COCO-WholeBody.
        folder: of the images.
        skeleton: whose keypoints are read; its parts name the fields.
        read_pixels: whether images are read whole; see `log_file_issues`.
        options: what users decide about reading.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON, or has no lists of images and annotations.
    """
    content = read_unchecked(file)
    rules = ReadRules(skeleton, options)
    coco, files = check_dataset_file(content, file, folder, rules, read_pixels=read_pixels)
    log_annotation_issues(content["annotations"], coco, skeleton)
    log_implausible_areas(coco.annotations, coco.log)
    if not coco.annotations.trainable.any():
        what = f"has {len(content['annotations'])} annotations, none with a keypoint of v above 0"
        coco.log.add(IssueType.UNLABELLED, "the file", what)
    return Inspection(coco.description, compute_statistics(coco, skeleton), coco.log, files)


def check_dataset_file(
    content: dict[str, object], file: Path, folder: Path, rules: ReadRules, *, read_pixels: bool
) -> CheckedFile:
    """Check the rows of a file, the segmentations of ignored regions, and the image files.

    Arguments are those of `inspect_dataset`, and the content of the file.
    """
    coco = check_rows(content, file, rules)
    images = fill_missing_sizes(folder, coco.images, IssueLog(file))  # files are checked below
    coco = coco._replace(images=images)
    pack_ignored_masks(coco.annotations, images, coco.log)
    return CheckedFile(coco, log_file_issues(images, folder, coco.log, read_pixels=read_pixels))
