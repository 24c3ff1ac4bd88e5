"""Inspection of a data set: counts and issues of one annotation file and its images."""

from pathlib import Path
from typing import NamedTuple

from tagpose.data.annotations import lay_ignored
from tagpose.data.coco_file import CocoFile, check_lists, read_lists
from tagpose.data.coco_schema import DEFAULT_OPTIONS, ReadOptions, Rules
from tagpose.data.image_files import measure_images
from tagpose.data.implausible_areas import log_implausible_areas
from tagpose.data.inspection.coverage import Coverage, count
from tagpose.data.inspection.files import log_file_issues
from tagpose.data.inspection.people import log_people_issues
from tagpose.data.issue_log import IssueLog
from tagpose.data.issues import IssueType
from tagpose.skeleton import Skeleton


class Inspection(NamedTuple):
    """What a data set has, and its issues."""

    description: str  # of the file
    coverage: Coverage
    log: IssueLog
    files: list[str]  # paths of the images that are there


class Checked(NamedTuple):
    """What was read of a file, with all of its issues in the log."""

    coco: CocoFile
    files: list[str]  # paths of the images that are there


def inspect(
    file: Path,
    folder: Path,
    skeleton: Skeleton,
    *,
    pixels: bool = False,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Inspection:
    """Count what a data set has and list all of its issues; no issue ends this.

    Args:
        file: of the annotations, COCO keypoints or COCO-WholeBody.
        folder: of the images.
        skeleton: whose keypoints are read; its parts name the fields.
        pixels: whether images are read whole; see `log_file_issues`.
        options: what users decide about reading.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON, or has no lists of images and annotations.
    """
    content = read_lists(file)
    rules = Rules(skeleton, options)
    coco, files = checked(content, file, folder, rules, pixels=pixels)
    log_people_issues(content["annotations"], coco, skeleton)
    log_implausible_areas(coco.annotations, coco.log)
    if not coco.annotations.learned.any():
        what = f"has {len(content['annotations'])} annotations, none with a keypoint of v above 0"
        coco.log.add(IssueType.UNLABELLED, "the file", what)
    return Inspection(coco.description, count(coco, skeleton), coco.log, files)


def checked(
    content: dict[str, object], file: Path, folder: Path, rules: Rules, *, pixels: bool
) -> Checked:
    """Check the rows of a file, the segmentations of ignored regions, and the image files.

    Arguments are those of `inspect`, and the content of the file.
    """
    coco = check_lists(content, file, rules)
    images = measure_images(folder, coco.images, IssueLog(file))  # files are checked below
    coco = coco._replace(images=images)
    lay_ignored(coco.annotations, images, coco.log)
    return Checked(coco, log_file_issues(images, folder, coco.log, pixels=pixels))
