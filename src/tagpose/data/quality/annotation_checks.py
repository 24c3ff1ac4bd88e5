"""Checks of all annotations of a file: valid flags, positions of keypoints and boxes, areas.

They find rows that can be read but are probably wrong, such as implausible areas, which make every
AP meaningless.
"""

from collections.abc import Callable, Sequence
from reprlib import repr as abbreviate
from typing import Any, Final

import numpy as np

from tagpose.data.coco_collectors import AnnotationTable
from tagpose.data.coco_file import CocoFile
from tagpose.data.issue_log import IssueLog, describe_row
from tagpose.data.issue_types import IssueType
from tagpose.skeletons.skeleton import Skeleton

_TOLERANCE: Final = 1.0  # image pixels; smaller excesses of boxes and keypoints are rounding
_MIN_PEOPLE: Final = 10  # fewer people may have equal areas by chance
_MIN_AREA_RATIO: Final = 0.1  # area / box area; COCO's people cover a third to two thirds
_MIN_BOX_RATIO: Final = 1.5  # ratio of box areas that are clearly different

_AddIssue = Callable[[IssueType, int, str], None]


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


def labeled_parts(coco: CocoFile, skeleton: Skeleton) -> np.ndarray:
    """Return whether each annotation has a labeled keypoint in each part, [T, parts]."""
    v = coco.annotations.keypoints[..., 2]
    return np.stack([(v[:, part] > 0).any(1) for part in skeleton.disjoint_parts.values()], axis=1)


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
