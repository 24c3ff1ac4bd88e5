"""This file finds what is wrong with annotated people: keypoints, flags, boxes, areas, outlines.

What is wrong is found over whole columns; only the rows that are wrong are put into words.
"""

from collections.abc import Sequence
from itertools import chain
from reprlib import repr as brief
from typing import Any, Final

import numpy as np

from tagpose.data.annotations import REACH, Row
from tagpose.data.entries import unpacked
from tagpose.data.inspection.columns import INVALID, UNREADABLE, VALID, Annotated
from tagpose.data.inspection.kinds import Fault, Found, Kind
from tagpose.data.unlabelled import box_keys
from tagpose.skeleton import Skeleton
from tagpose.structures import MOST_VISIBLE

_SLACK: Final = 1.0  # image pixels; a box or keypoint this far outside was rounded


def people_faults(annotated: Annotated, skeleton: Skeleton) -> Found:
    """All that is wrong with what the rows say of people."""
    return chain(
        _keypoint_faults(annotated, skeleton),
        _visibility_faults(annotated, skeleton),
        _flag_faults(annotated, skeleton),
        _outside_faults(annotated, skeleton),
        _area_faults(annotated),
        _box_faults(annotated),
        _limb_box_faults(annotated, skeleton),
        _segmentation_faults(annotated),
    )


def _keypoint_faults(annotated: Annotated, skeleton: Skeleton) -> Found:
    """Fields of keypoints that have a wrong length, or something that is no finite number."""
    fields = list(skeleton.fields.items())
    for t, f in np.argwhere(~annotated.readable).tolist():
        field, at = fields[f]
        yield _unreadable(annotated.where[t], field, annotated.rows[t], 3 * (at.stop - at.start))


def _unreadable(where: str, field: str, row: Row, size: int) -> tuple[Kind, Fault]:
    """Why a field is no list of as many finite numbers."""
    if field not in row:
        return Kind.LENGTH, Fault(where, f"no {field}, which has {size} numbers")
    values = row[field]
    if not isinstance(values, list):
        return Kind.LENGTH, Fault(where, f"{field} is {brief(values)}, not {size} numbers")
    if len(values) != size:
        return Kind.LENGTH, Fault(where, f"{field} has the length {len(values)}, not {size}")
    number, value = next((n, v) for n, v in enumerate(values) if not _finite(v))
    return Kind.VALUE, Fault(where, f"{brief(value)} in {field} as number {number} of {size}")


def _finite(value: object, limit: int = 2**63) -> bool:
    """Whether a value is a number that can be a coordinate: not further than a limit from 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= limit  # which NaN is not


def _visibility_faults(annotated: Annotated, skeleton: Skeleton) -> Found:
    """Visibilities out of their range."""
    seen = annotated.keypoints[..., 2]
    wrong = (seen < 0) | (seen > MOST_VISIBLE)  # which NaN is not
    for t in np.flatnonzero(wrong.any(axis=1)).tolist():
        k = int(np.argmax(wrong[t]))
        found = f"{skeleton.keypoints[k]} has the v {seen[t, k]:g}, not from 0 to {MOST_VISIBLE}"
        yield Kind.VISIBILITY, Fault(annotated.where[t], found)


def _flag_faults(annotated: Annotated, skeleton: Skeleton) -> Found:
    """Valid flags that say something else than v."""
    labelled = labelled_limbs(annotated, skeleton)  # [T, F]
    counted, flags = annotated.readable, annotated.flags
    wrong = (flags == UNREADABLE) | (
        counted & (((flags == VALID) & ~labelled) | ((flags == INVALID) & labelled))
    )
    limbs = list(skeleton.limbs)
    for t, f in np.argwhere(wrong).tolist():
        key = f"{limbs[f]}_valid"
        does = "some v is above 0" if labelled[t, f] else "no v is above 0"
        found = f"{key} is {brief(annotated.rows[t][key])}, but {does}"
        yield Kind.FLAG, Fault(annotated.where[t], found)


def labelled_limbs(annotated: Annotated, skeleton: Skeleton) -> np.ndarray:
    """Whether a row has a labelled keypoint in each limb, [T, F]."""
    limbs = [(annotated.keypoints[:, at, 2] > 0).any(1) for at in skeleton.limbs.values()]
    return np.stack(limbs, axis=1) & annotated.readable


def _outside_faults(annotated: Annotated, skeleton: Skeleton) -> Found:
    """Labelled keypoints that are not on the image."""
    labelled = annotated.keypoints[..., 2] > 0  # [T, K]
    low, high = -_SLACK, annotated.sizes[:, None] + _SLACK
    points = annotated.keypoints[..., :2]
    known = annotated.sizes.all(axis=1, keepdims=True)
    outside: np.ndarray = labelled & known & ((points < low) | (points > high)).any(-1)
    for t in np.flatnonzero(outside.any(axis=1)).tolist():
        kinds = np.flatnonzero(outside[t])
        x, y = points[t, kinds[0]].tolist()
        width, height = annotated.sizes[t].tolist()
        more = f" and {len(kinds) - 1} more" if len(kinds) > 1 else ""
        found = (
            f"{skeleton.keypoints[kinds[0]]} at {x:.1f}, {y:.1f}{more}, not on {width} x {height}"
        )
        yield Kind.OUTSIDE, Fault(annotated.where[t], found)


def _area_faults(annotated: Annotated) -> Found:
    """Areas that are no number above 0."""
    known = np.isfinite(annotated.areas)
    for t in np.flatnonzero(~(known & (annotated.areas > 0))).tolist():
        yield Kind.AREA if known[t] else Kind.AREA_VALUE, _stating(annotated, t, "area")


def _stating(annotated: Annotated, t: int, key: str, why: str = "") -> Fault:
    """A fault that is told by showing the field."""
    return Fault(annotated.where[t], f"{key} is {brief(annotated.rows[t].get(key))}{why}")


def _box_faults(annotated: Annotated) -> Found:
    """Boxes that are none, have no area, or leave the image."""
    boxes, sizes = annotated.boxes, annotated.sizes
    known = np.isfinite(boxes).all(axis=1)
    negative = known & (boxes[:, 2:] < 0).any(axis=1)
    flat = known & ~negative & (boxes[:, 2:] == 0).any(axis=1)
    ends = boxes[:, :2] + boxes[:, 2:]
    outside = (boxes[:, :2] < -_SLACK).any(axis=1) | (ends > sizes + _SLACK).any(axis=1)
    outside &= known & ~negative & ~flat & sizes.all(axis=1)
    for wrong, kind, why in (
        (~known, Kind.BOX, ", not four finite numbers"),
        (negative, Kind.BOX, ", which has a side below 0"),
        (flat, Kind.BOX_PLACE, ", which has no area"),
        (outside, Kind.BOX_PLACE, ", outside of its image"),
    ):
        for t in np.flatnonzero(wrong).tolist():
            yield kind, _stating(annotated, t, "bbox", why)


def _limb_box_faults(annotated: Annotated, skeleton: Skeleton) -> Found:
    """Boxes of faces, hands, feet that are none."""
    keys = box_keys(skeleton)[1:]
    for t, row in enumerate(annotated.rows):
        for key in keys:
            box = row.get(key)
            if box and not (isinstance(box, list) and len(box) == 4 and all(map(_finite, box))):
                yield Kind.BOX, _stating(annotated, t, key, ", not four finite numbers")


def _segmentation_faults(annotated: Annotated) -> Found:
    """Outlines of those who become masks, for whom alone they are read."""
    nobody = annotated.readable.all(1) & ~(annotated.keypoints[..., 2] > 0).any(1)
    known = annotated.sizes.all(axis=1)
    for t in np.flatnonzero((annotated.crowd | nobody) & known).tolist():
        # the reader takes the box where there is no outline
        outline = annotated.rows[t].get("segmentation") or [_corners(annotated.boxes[t])]
        why = _unreadable_outline(outline, *annotated.sizes[t].tolist())
        if why:
            yield Kind.SEGMENTATION, Fault(annotated.where[t], why)


def _corners(box: np.ndarray) -> list[float]:
    """A polygon with the corners of a box [4]."""
    left, top, width, height = box.tolist()
    right, bottom = left + width, top + height
    return [left, top, right, top, right, bottom, left, bottom]


def _unreadable_outline(outline: Any, width: int, height: int) -> str:
    """Why an outline is neither polygons nor a code of runs; "" where it is one."""
    if isinstance(outline, list):
        return _unreadable_polygons(outline, max(width, height))
    if not isinstance(outline, dict):
        return f"segmentation is {brief(outline)}, neither polygons nor runs"
    if outline.get("size") != [height, width]:
        return f"segmentation has the size {brief(outline.get('size'))}, not {[height, width]}"
    return _unreadable_runs(outline.get("counts"), width * height)


def _unreadable_polygons(polygons: Sequence[object], side: int) -> str:
    """Why a list is none of polygons on an image of that longer side."""
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return f"a polygon is {brief(polygon)}, not three points or more, x and y each"
        if not all(_finite(value, REACH * side) for value in polygon):
            return f"a polygon is {brief(polygon)}, which leaves the image or is no numbers"
    return ""


def _unreadable_runs(counts: object, pixels: int) -> str:
    """Why counts are not the lengths of runs that cover the image."""
    if isinstance(counts, str):
        try:
            counts = unpacked(counts)
        except ValueError as error:
            return f"segmentation: {error}"
    if not isinstance(counts, list) or not all(_length(count) for count in counts):
        return f"segmentation has the runs {brief(counts)}, not lengths"
    covered = sum(counts)
    return "" if covered == pixels else f"segmentation covers {covered} pixels, not {pixels}"


def _length(value: object) -> bool:
    """Whether a value can be the length of a run."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
