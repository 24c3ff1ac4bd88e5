"""A check for areas that cannot be true, with which every AP is meaningless."""

from typing import Final

import numpy as np

from tagpose.data.collectors import Columns
from tagpose.data.issue_log import IssueLog
from tagpose.data.issues import IssueType

_FEW: Final = 10  # people; fewer may have equal areas by chance
_LEAST_SHARE: Final = 0.1  # of the box; people of COCO fill a third to two thirds of theirs
_OTHER_SIZE: Final = 1.5  # ratio of the areas of boxes that are clearly different


def log_implausible_areas(annotations: Columns, log: IssueLog) -> None:
    """Log areas that are far below the boxes, or all equal for boxes that are not.

    Args:
        annotations: with the boxes of all of them.
        log: takes the issue.
    """
    boxes = annotations.boxes[:, 0, 2:].astype(np.float64).prod(1)
    known = ~annotations.crowd & (boxes > 0) & np.isfinite(annotations.areas)
    boxes, areas = boxes[known], annotations.areas[known]
    if not len(areas):
        return
    low, high = np.percentile(boxes, [10, 90])
    typical, box = np.median(areas), np.median(boxes)
    if typical < _LEAST_SHARE * box:
        what = f"has areas of {typical:g} square pixels in boxes of {box:g}, by the median"
    elif len(areas) >= _FEW and np.ptp(areas) == 0 and high > _OTHER_SIZE * low:
        what = f"has the area {areas[0]:g} for all {len(areas)} people"
    else:
        return
    log.add(IssueType.AREA_IMPLAUSIBLE, "the file", what, count=len(areas))
