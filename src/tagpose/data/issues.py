"""Issues of an annotation file: their types, each with its severity and advice, and their log."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from reprlib import repr as brief
from typing import NamedTuple


class Severity(Enum):
    """Consequence of an issue; the value is its name in listings and in the documentation."""

    ERROR = "error"  # training and evaluation stop
    SKIPPED = "skipped"  # the row is skipped; one warning per type gives the count
    REPAIRED = "repaired"  # the row is read with a default; one warning per type gives the count
    WARNING = "warning"  # the file is read unchanged, with one warning, but is probably wrong
    NOTE = "note"  # listed by an inspection only


class IssueType(Enum):
    """Issue types: severity, plural description, and what happens or what the user should do."""

    ROW = (
        Severity.ERROR,
        "rows that are not JSON objects",
        "remove them",
    )
    IMAGE_ID = (
        Severity.ERROR,
        "images without a readable id",
        "an id is an integer of at most 64 bits, or text",
    )
    IMAGE_REUSED = (
        Severity.ERROR,
        "image ids shared by two different images",
        "give each image a unique id",
    )
    FILE_REUSED = (
        Severity.ERROR,
        "image files shared by two images with different ids",
        "people of one image would count as background in the other; merge their annotations",
    )
    FILE_NAME = (
        Severity.ERROR,
        "images without a file_name",
        "file_name is the path of the image relative to the image folder",
    )
    FILE_MISSING = (
        Severity.ERROR,
        "missing image files",
        "copy them into the image folder, or correct data.root or the folder in data.train "
        "and data.val",
    )
    IMAGE_SIZE = (
        Severity.ERROR,
        "impossible image sizes",
        "width and height are integers, at least 1 pixel",
    )
    IMAGE_FILE = (
        Severity.ERROR,
        "image files that cannot be read or whose size differs from the annotated one",
        "export or download the images again as they were annotated",
    )
    IMAGE_ID_OF_ANNOTATION = (
        Severity.ERROR,
        "annotations without a readable image_id",
        "image_id is the id of an image in the same file",
    )
    CROWD = (
        Severity.ERROR,
        "values of iscrowd other than 0 and 1",
        "iscrowd is 1 for a crowd region and 0 otherwise",
    )
    KEYPOINT_COUNT = (
        Severity.ERROR,
        "keypoint lists of the wrong length",
        "skeleton=body reads person_keypoints_*.json, skeleton=wholebody reads "
        "coco_wholebody_*_v1.0.json, and other keypoints need a custom skeleton",
    )
    KEYPOINT_VALUE = (
        Severity.ERROR,
        "keypoints that are not finite numbers",
        "write 0, 0, 0 for an unlabeled keypoint",
    )
    VISIBILITY = (
        Severity.ERROR,
        "visibilities v outside 0 to 2",
        "v is 0 for an unlabeled keypoint, 1 for an occluded one and 2 for a visible one",
    )
    BOX = (
        Severity.ERROR,
        "boxes that are not x, y, width, height",
        "a box is four finite numbers in image pixels, with width and height at least 0",
    )
    AREA_VALUE = (
        Severity.ERROR,
        "areas that are not finite numbers (only scoring reads areas)",
        "write the area of the mask or of the box in square image pixels",
    )
    SEGMENTATION = (
        Severity.ERROR,
        "unreadable segmentations of crowds or of people without keypoints",
        "with an empty list the loss ignores the box instead",
    )
    CATEGORY = (
        Severity.ERROR,
        "several categories with keypoints, none of which is selected",
        "select one with data.category=NAME (category=NAME for tagpose score)",
    )
    CATEGORY_SIZE = (
        Severity.ERROR,
        "a category with a different number of keypoints than the skeleton",
        "use a skeleton with the keypoints of the file",
    )
    NORMALIZED = (
        Severity.ERROR,
        "normalized coordinates",
        "x and y are image pixels; multiply them by the width and height of the image",
    )
    UNLABELED = (
        Severity.ERROR,
        "a file without any labeled keypoint",
        "there is nothing to train on or to evaluate; check data.train and data.val",
    )
    IMAGE_REPEATED = (Severity.SKIPPED, "duplicate rows of an image", "read once")
    ANNOTATION_REPEATED = (Severity.SKIPPED, "duplicate rows of an annotation", "read once")
    STRAY = (
        Severity.SKIPPED,
        "annotations of images that are not in the file",
        "skipped; add their images to the file to use them",
    )
    OTHER_CATEGORY = (Severity.SKIPPED, "annotations of another category", "skipped")
    EMPTY = (
        Severity.SKIPPED,
        "annotations without keypoints, box and segmentation",
        "skipped, because the region that the loss should ignore is unknown",
    )
    CROWD_MISSING = (Severity.REPAIRED, "annotations without iscrowd", "read as 0")
    BOX_MISSING = (
        Severity.REPAIRED,
        "annotations without bbox",
        "the bounding box of the labeled keypoints is used",
    )
    AREA_MISSING = (
        Severity.REPAIRED,
        "annotations without area",
        "the area of the segmentation, or else of the box, is used",
    )
    NESTED = (
        Severity.REPAIRED,
        "nested lists such as [[x, y, v], ...] or [[x, y, width, height]]",
        "read as one flat list",
    )
    TEXT = (Severity.REPAIRED, "numbers written as text", "read as numbers")
    NO_KEYPOINTS = (
        Severity.REPAIRED,
        "annotations without keypoints",
        "the loss ignores their segmentation or box",
    )
    SIZE_MISSING = (
        Severity.REPAIRED,
        "images without width or height",
        "the size is read from the image file, after EXIF rotation",
    )
    FILE_ELSEWHERE = (
        Severity.REPAIRED,
        "file names with folders that do not exist",
        "the image is found in the image folder by the last parts of its path",
    )
    KEYPOINT_ORDER = (
        Severity.REPAIRED,
        "keypoint names in a different order than the skeleton's",
        "keypoints are reordered by name",
    )
    KEYPOINT_NAMES = (
        Severity.WARNING,
        "keypoint names that differ from the skeleton's",
        "keypoints are read in the order of the file; check that the skeleton is correct",
    )
    CATEGORY_UNKNOWN = (
        Severity.WARNING,
        "annotations of categories that are not in the file",
        "they are used; correct their category_id, or add the category",
    )
    COORDINATES_OF_V0 = (
        Severity.WARNING,
        "keypoints with coordinates and v = 0, which count as unlabeled",
        "data.v0_as_labeled=true (v0_as_labeled=true for tagpose score) treats them as labeled",
    )
    AREA_IMPLAUSIBLE = (
        Severity.WARNING,
        "implausible areas",
        "AP would be meaningless; remove the areas to use those of the segmentations or boxes",
    )
    SHARED_IMAGES = (
        Severity.WARNING,
        "images in both train and val",
        "scores on training images are meaningless; split the data again",
    )
    ANNOTATION_ID_ZERO = (
        Severity.NOTE,
        "an annotation with the id 0",
        "pycocotools counts a match with it as a false positive, this project does not; number "
        "from 1",
    )
    ANNOTATION_ID_REUSED = (
        Severity.NOTE,
        "annotation ids shared by several annotations",
        "not used here, but pycocotools evaluates only the last one; give each a unique id",
    )
    FLAG = (
        Severity.NOTE,
        "valid flags that contradict v",
        "only v is used here, but other programs use the flags",
    )
    OUTSIDE = (
        Severity.NOTE,
        "labeled keypoints outside the image",
        "the network would learn to predict people in black margins; set their v to 0",
    )
    BOX_PLACE = (
        Severity.NOTE,
        "boxes with zero area or outside the image",
        "ignored regions and the evaluation of people without keypoints depend on them",
    )
    AREA = (
        Severity.NOTE,
        "areas of 0 or less",
        "OKS divides by the area, so these people cannot be matched",
    )

    @property
    def severity(self) -> Severity:
        """Consequence of issues of this type."""
        return self.value[0]

    @property
    def description(self) -> str:
        """Plural noun phrase for issues of this type."""
        return self.value[1]

    @property
    def advice(self) -> str:
        """What is done about such issues, or what the user should do."""
        return self.value[2]


class Issue(NamedTuple):
    """One issue of a file."""

    type: IssueType
    where: str  # the image or annotation, by its id or its index in the file
    detail: str  # predicate of a message "WHERE DETAIL", such as "has the bbox [1, 2]"
    image_ids: tuple[int, ...] = ()  # images that on_error=skip drops because of the issue


class IssueLog:
    """Issues of one file, counted by type.

    Args:
        file: annotation file, for messages.
        max_kept: number of issues of each type to keep, None for all; all issues are counted.
    """

    def __init__(self, file: Path, max_kept: int | None = None) -> None:
        self.file, self.max_kept = file, max_kept
        self.counts: dict[IssueType, int] = defaultdict(int)
        self.issues: dict[IssueType, list[Issue]] = defaultdict(list)
        self.first_error: Issue | None = None

    def add(
        self, type_: IssueType, where: str, detail: str, *image_ids: int, count: int = 1
    ) -> None:
        """Add an issue, which may stand for `count` occurrences."""
        self._append(Issue(type_, where, detail, image_ids))
        self.counts[type_] += count - 1

    def add_row(
        self, noun: str, row: object, index: int, type_: IssueType, detail: str, *image_ids: int
    ) -> None:
        """Add an issue of one row of the file.

        The row is described only now, because rows without issues need no description.
        """
        self.add(type_, describe_row(noun, row, index), detail, *image_ids)

    def extend(self, other: "IssueLog") -> None:
        """Add the issues of another log of the same file."""
        for type_, issues in other.issues.items():
            self.counts[type_] += other.counts[type_] - len(issues)
            for issue in issues:
                self._append(issue)

    def raise_error(self) -> None:
        """Raise the first error in the log, if there is one.

        Raises:
            FileNotFoundError: the first error is a missing image file.
            ValueError: the first error is of another type; the message names the file, the row,
                what was found and what to do.
        """
        if error := self.first_error:
            count, missing = self.counts[error.type], error.type is IssueType.FILE_MISSING
            first = f" (the first of {count} such issues)" if count > 1 else ""
            skip = "; data.on_error=skip drops such images" if error.image_ids else ""
            message = f"{self.file}: {error.where} {error.detail}{first}; {error.type.advice}{skip}"
            raise FileNotFoundError(message) if missing else ValueError(message)

    def warning_lines(self) -> list[str]:
        """Return one line per type that warns: count, description, advice and first example."""
        warned = (Severity.SKIPPED, Severity.REPAIRED, Severity.WARNING)
        return [
            f"{self.file}: {self.counts[type_]} x {type_.description} ({type_.severity.value}): "
            f"{type_.advice}; first: {issues[0].where} {issues[0].detail}"
            for type_, issues in self.issues.items()
            if type_.severity in warned
        ]

    def _append(self, issue: Issue) -> None:
        """Count an issue, and keep it if fewer than `max_kept` of its type are kept."""
        self.counts[issue.type] += 1
        issues = self.issues[issue.type]
        if self.max_kept is None or len(issues) < self.max_kept:
            issues.append(issue)
        if issue.type.severity is Severity.ERROR and self.first_error is None:
            self.first_error = issue


def describe_row(noun: str, row: object, index: int) -> str:
    """Return the name of a row in messages: its id, or its index in the list if it has no id."""
    row_id = row.get("id") if isinstance(row, dict) else None
    usable = isinstance(row_id, int | str) and row_id != ""
    return f"{noun} {brief(row_id).strip(chr(39))}" if usable else f"{noun}s[{index}]"


def emit_warnings(lines: Iterable[str]) -> None:
    """Emit each line as a warning; Python shows identical ones once."""
    for line in lines:
        warnings.warn(line, stacklevel=1)


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
