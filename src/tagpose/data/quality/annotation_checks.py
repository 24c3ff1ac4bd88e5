"""Checks over all annotations of a file: valid flags, places of keypoints and boxes, areas.

They find what is read without harm to the reader and yet probably wrong.
"""

from collections.abc import Callable, Sequence
from reprlib import repr as brief
from typing import Any, Final

import numpy as np

from tagpose.data.coco_collectors import AnnotationTable
from tagpose.data.coco_file import CocoFile
from tagpose.data.issue_log import IssueLog, describe_row
from tagpose.data.issue_types import IssueType
from tagpose.skeletons.skeleton import Skeleton

# MERGED: """A check for areas that cannot be true, with which every AP is meaningless."""
_TOLERANCE: Final = 1.0  # image pixels; a box or keypoint this far outside was rounded


def log_annotation_issues(rows: Sequence[Any], coco: CocoFile, skeleton: Skeleton) -> None:
    """Log what is probably wrong with the annotations of a file.

    Args:
        rows: the list of annotations in the file.
        coco: what was read of it, with the sizes of its images; its log takes the issues.
        skeleton: whose keypoints were read.
    """
    places = coco.annotations.row_indices.tolist()

    def add(type_: IssueType, t: int, what: str) -> None:
        coco.log.add(type_, describe_row("annotation", rows[places[t]], places[t]), what)

    _log_flags([rows[place] for place in places], coco, skeleton, add)
    sizes = np.array([coco.images[i][2:] for i in coco.annotations.image_ids.tolist()])
    sizes = sizes.reshape(-1, 2)  # [T, 2]
    _log_outside(coco, sizes, skeleton, add)
    _log_boxes(coco, sizes, add)
    for t in np.flatnonzero(coco.annotations.areas <= 0).tolist():
        add(IssueType.AREA, t, f"has the area {coco.annotations.areas[t]:g}")


def labelled_parts(coco: CocoFile, skeleton: Skeleton) -> np.ndarray:
    """Return whether an annotation has a labelled keypoint in each part, [T, F]."""
    seen = coco.annotations.keypoints[..., 2]
    return np.stack([(seen[:, at] > 0).any(1) for at in skeleton.disjoint_parts.values()], axis=1)


_Add = Callable[[IssueType, int, str], None]


def _log_flags(
    rows: Sequence[dict[str, Any]], coco: CocoFile, skeleton: Skeleton, add: _Add
) -> None:
    """Log valid flags that contradict v."""
    labelled = labelled_parts(coco, skeleton).tolist()
    for t, (row, parts) in enumerate(zip(rows, labelled, strict=True)):
        for part, some in zip(skeleton.disjoint_parts, parts, strict=True):
            key = f"{part}_valid"
            if key in row and row[key] not in ((True,) if some else (False,)):
                does = "some v is above 0" if some else "no v is above 0"
                add(IssueType.FLAG, t, f"has the {key} {brief(row[key])}, but {does}")


def _log_outside(coco: CocoFile, sizes: np.ndarray, skeleton: Skeleton, add: _Add) -> None:
    """Log labelled keypoints that are outside their image of `sizes` [T, 2]."""
    points, seen = coco.annotations.keypoints[..., :2], coco.annotations.keypoints[..., 2]
    beyond = ((points < -_TOLERANCE) | (points > sizes[:, None] + _TOLERANCE)).any(-1)  # [T, K]
    outside = beyond & (seen > 0) & sizes.all(axis=1, keepdims=True)
    for t in np.flatnonzero(outside.any(axis=1)).tolist():
        kinds = np.flatnonzero(outside[t])
        x, y = points[t, kinds[0]].tolist()
        more = f" and {len(kinds) - 1} more" if len(kinds) > 1 else ""
        name, (width, height) = skeleton.keypoints[kinds[0]], sizes[t].tolist()
        what = f"has {name} at {x:.1f}, {y:.1f}{more}, not on {width} x {height}"
        add(IssueType.OUTSIDE, t, what)


def _log_boxes(coco: CocoFile, sizes: np.ndarray, add: _Add) -> None:
    """Log boxes that have no area or leave their image of `sizes` [T, 2]."""
    boxes = coco.annotations.boxes[:, 0]
    flat = (boxes[:, 2:] == 0).any(axis=1)
    ends = boxes[:, :2] + boxes[:, 2:]
    outside = (boxes[:, :2] < -_TOLERANCE).any(axis=1) | (ends > sizes + _TOLERANCE).any(axis=1)
    outside &= ~flat & sizes.all(axis=1)
    for wrong, why in ((flat, "has no area"), (outside, "is outside its image")):
        for t in np.flatnonzero(wrong).tolist():
            add(IssueType.BOX_PLACE, t, f"has the bbox {boxes[t].tolist()}, which {why}")


_MIN_PEOPLE: Final = 10  # people; fewer may have equal areas by chance
_MIN_AREA_RATIO: Final = 0.1  # of the box; people of COCO fill a third to two thirds of theirs
_MIN_BOX_RATIO: Final = 1.5  # ratio of the areas of boxes that are clearly different


def log_implausible_areas(annotations: AnnotationTable, log: IssueLog) -> None:
    """Log areas that are far below the boxes, or all equal for boxes that are not.

    Args:
        annotations: with the boxes of all of them.
        log: takes the issue.
    """
    boxes = annotations.boxes[:, 0, 2:].astype(np.float64).prod(1)
    known = ~annotations.is_crowd & (boxes > 0) & np.isfinite(annotations.areas)
    boxes, areas = boxes[known], annotations.areas[known]
    if not len(areas):
        return
    low, high = np.percentile(boxes, [10, 90])
    typical, box = np.median(areas), np.median(boxes)
    if typical < _MIN_AREA_RATIO * box:
        what = f"has areas of {typical:g} square pixels in boxes of {box:g}, by the median"
    elif len(areas) >= _MIN_PEOPLE and np.ptp(areas) == 0 and high > _MIN_BOX_RATIO * low:
        what = f"has the area {areas[0]:g} for all {len(areas)} people"
    else:
        return
    log.add(IssueType.AREA_IMPLAUSIBLE, "the file", what, count=len(areas))
