"""Checks of a dataset: its annotations (valid flags, positions, areas) and its image files.

They also find rows that can be read but are probably wrong, such as implausible areas, which make
every AP meaningless.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from reprlib import repr as abbreviate
from typing import Any, Final, NamedTuple

import numpy as np
from tqdm import tqdm

from tagpose.data.annotation_table import AnnotationTable
from tagpose.data.coco_file import CocoFile, Row, check_rows
from tagpose.data.coco_schema import ImageRow, ReadRules
from tagpose.data.ignore_regions import pack_ignored_masks
from tagpose.data.image_files import fill_missing_sizes, locate_images
from tagpose.data.images import IMAGE_ERRORS, open_image, read_annotated_image, upright_size
from tagpose.data.issues import IssueLog, IssueType, describe_row
from tagpose.data.quality.dataset_statistics import labeled_parts
from tagpose.skeletons.skeleton import Skeleton

_TOLERANCE: Final = 1.0  # image pixels; smaller excesses of boxes and keypoints are rounding
_MIN_PEOPLE: Final = 10  # fewer people may have equal areas by chance
_MIN_AREA_RATIO: Final = 0.1  # area / box area; COCO's people cover a third to two thirds
_MIN_BOX_RATIO: Final = 1.5  # ratio of box areas that are clearly different

_AddIssue = Callable[[IssueType, int, str], None]


class CheckedFile(NamedTuple):
    """Data read from an annotation file; its log has all issues."""

    coco: CocoFile
    files: list[str]  # paths of the images that exist


def log_annotation_issues(rows: Sequence[Any], coco: CocoFile, skeleton: Skeleton) -> None:
    """Log annotations that are probably wrong.

    Args:
        rows: list of annotations in the file.
        coco: data read from the file, with the sizes of its images; its log receives the issues.
        skeleton: skeleton that the file was read with.
    """
    indices = coco.annotations.row_indices.tolist()

    def add(type_: IssueType, t: int, detail: str) -> None:
        coco.log.add(type_, describe_row("annotation", rows[indices[t]], indices[t]), detail)

    _log_flags([rows[index] for index in indices], coco, skeleton, add)
    sizes = np.array([coco.images[i][2:] for i in coco.annotations.image_ids.tolist()])
    sizes = sizes.reshape(-1, 2)  # [T, 2]
    _log_outside(coco, sizes, skeleton, add)
    _log_boxes(coco, sizes, add)
    for t in np.flatnonzero(coco.annotations.areas <= 0).tolist():
        add(IssueType.AREA, t, f"has the area {coco.annotations.areas[t]:g}")


def log_implausible_areas(annotations: AnnotationTable, log: IssueLog) -> None:
    """Log areas that are far smaller than the boxes, or all equal although the boxes differ.

    Args:
        annotations: annotations that all have a box.
        log: log that receives the issue.
    """
    box_areas = annotations.boxes[:, 0, 2:].astype(np.float64).prod(1)
    is_known = ~annotations.is_crowd & (box_areas > 0) & np.isfinite(annotations.areas)
    box_areas, areas = box_areas[is_known], annotations.areas[is_known]
    if not len(areas):
        return
    low, high = np.percentile(box_areas, [10, 90])
    area, box_area = np.median(areas), np.median(box_areas)
    if area < _MIN_AREA_RATIO * box_area:
        detail = f"has a median area of {area:g} square pixels in boxes of {box_area:g}"
    elif len(areas) >= _MIN_PEOPLE and np.ptp(areas) == 0 and high > _MIN_BOX_RATIO * low:
        detail = f"has the area {areas[0]:g} for all {len(areas)} people"
    else:
        return
    log.add(IssueType.AREA_IMPLAUSIBLE, "the file", detail, count=len(areas))


def log_file_issues(
    images: dict[int, ImageRow], folder: Path, log: IssueLog, *, read_pixels: bool = False
) -> list[str]:
    """Log images that are missing, truncated, or of another size than stated.

    Args:
        images: images of the annotation file by id.
        folder: folder of the image files.
        log: log that receives the issues.
        read_pixels: whether images are decoded, which is required to find truncated files but takes
            minutes for a hundred thousand images; otherwise only headers are read.

    Returns:
        Paths of the files that exist.
    """
    names = locate_images(folder, [image.file_name for image in images.values()], [*images], log)
    existing = [(i, name) for i, name in zip(images, names, strict=True) if name is not None]
    check = partial(_find_pixel_issue if read_pixels else _find_header_issue, folder)
    rows = [images[image_id] for image_id, _ in existing]
    # decoding releases the GIL
    with ThreadPoolExecutor() as threads:
        details = threads.map(check, [name for _, name in existing], rows)
        progress = tqdm(details, desc="check image files", total=len(existing), unit="file")
        for (image_id, _), detail in zip(existing, progress, strict=True):
            if detail:
                log.add(IssueType.IMAGE_FILE, f"image {image_id}", detail, image_id)
    return [f"{folder}/{name}" for _, name in existing]


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


def _log_flags(
    rows: Sequence[dict[str, Any]], coco: CocoFile, skeleton: Skeleton, add: _AddIssue
) -> None:
    """Log valid flags that contradict the visibilities."""
    labeled = labeled_parts(coco, skeleton).tolist()
    for t, (row, row_labeled) in enumerate(zip(rows, labeled, strict=True)):
        for part, is_labeled in zip(skeleton.disjoint_parts, row_labeled, strict=True):
            key = f"{part}_valid"
            if key in row and row[key] not in ((True,) if is_labeled else (False,)):
                labels = "a labeled keypoint (v > 0)" if is_labeled else "no labeled keypoint"
                add(IssueType.FLAG, t, f"has {key} {abbreviate(row[key])}, but {labels}")


def _log_outside(coco: CocoFile, sizes: np.ndarray, skeleton: Skeleton, add: _AddIssue) -> None:
    """Log labeled keypoints outside their images, whose `sizes` are [T, 2]."""
    points, v = coco.annotations.keypoints[..., :2], coco.annotations.keypoints[..., 2]
    beyond = ((points < -_TOLERANCE) | (points > sizes[:, None] + _TOLERANCE)).any(-1)  # [T, K]
    outside = beyond & (v > 0) & sizes.all(axis=1, keepdims=True)
    for t in np.flatnonzero(outside.any(axis=1)).tolist():
        first, *others = np.flatnonzero(outside[t]).tolist()
        x, y = points[t, first].tolist()
        more = f" and {len(others)} more" if others else ""
        name, (width, height) = skeleton.keypoints[first], sizes[t].tolist()
        detail = f"has {name} at {x:.1f}, {y:.1f}{more}, outside the {width} x {height} image"
        add(IssueType.OUTSIDE, t, detail)


def _log_boxes(coco: CocoFile, sizes: np.ndarray, add: _AddIssue) -> None:
    """Log boxes that have no area or leave their images, whose `sizes` are [T, 2]."""
    boxes = coco.annotations.boxes[:, 0]
    empty = (boxes[:, 2:] == 0).any(axis=1)
    ends = boxes[:, :2] + boxes[:, 2:]
    outside = (boxes[:, :2] < -_TOLERANCE).any(axis=1) | (ends > sizes + _TOLERANCE).any(axis=1)
    outside &= ~empty & sizes.all(axis=1)
    for is_wrong, reason in ((empty, "has no area"), (outside, "is outside its image")):
        for t in np.flatnonzero(is_wrong).tolist():
            add(IssueType.BOX_PLACE, t, f"has the bbox {boxes[t].tolist()}, which {reason}")


def _find_pixel_issue(folder: Path, name: str, row: ImageRow) -> str:
    """Decode an image and return its issue, or ""."""
    if issue := _find_header_issue(folder, name, row):
        return issue
    try:
        read_annotated_image(folder / name)
    except ValueError as error:
        return f"has the file {error}"
    return ""


def _find_header_issue(folder: Path, name: str, row: ImageRow) -> str:
    """Read the header of an image and return its issue, or ""."""
    try:
        with open_image(folder / name) as image:
            sizes = image.size, upright_size(image)
    except IMAGE_ERRORS as error:
        return f"has the file {name!r}, which cannot be read as an image ({error})"
    if (row.width, row.height) in sizes or not row.width:
        return ""
    (width, height), _ = sizes
    return f"has the file {name!r} of {width} x {height} pixels, not {row.width} x {row.height}"
