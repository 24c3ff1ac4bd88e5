"""The category of an annotation file that has the keypoints of a skeleton."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tagpose.data.coco_fields import parse_id
from tagpose.data.issue_log import IssueLog
from tagpose.data.issue_types import IssueType
from tagpose.skeletons.skeleton import Skeleton


class Category(NamedTuple):
    """A category of a file, as far as it concerns keypoints."""

    id: int | None
    name: str
    keypoints: tuple[str, ...]  # names; none where the file gives none


class CategoryChoice(NamedTuple):
    """Which annotations are read, and in which order their keypoints are."""

    skipped: dict[int, str]  # category id -> name, of those that are not read
    keypoint_orders: dict[
        int, tuple[int, ...]
    ]  # category id -> for each keypoint its place in the file


def choose_categories(
    content: object, skeleton: Skeleton, wanted: str | None, log: IssueLog
) -> CategoryChoice:
    """Choose the categories whose keypoints are the skeleton's.

    Where only one category has keypoints it is taken, whatever their names. Of several those with
    exactly the skeleton's names are taken. For whole bodies the names are those of the body.

    Args:
        content: value of `categories` in the file; a file without any is read whole.
        skeleton: whose keypoints are wanted.
        wanted: name of the category, None to choose by keypoints.
        log: takes the issues.
    """
    categories = _parse_categories(content)
    names = skeleton.keypoints[skeleton.json_keys.get("keypoints", slice(0))]
    chosen = _candidates(categories, names, wanted, log)
    orders = {}
    for category in chosen:
        order = _keypoint_order(category, names, skeleton, log)
        if order and category.id is not None:
            orders[category.id] = order
    ids = {category.id for category in chosen}
    others = (one for one in categories if chosen and one.id not in ids)
    return CategoryChoice({one.id: one.name for one in others if one.id is not None}, orders)


def _parse_categories(content: object) -> list[Category]:
    """Return the categories that a file lists."""
    rows = [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []
    return [
        Category(
            parse_id(row.get("id")), str(row.get("name")), _keypoint_names(row.get("keypoints"))
        )
        for row in rows
    ]


def _keypoint_names(value: Any) -> tuple[str, ...]:
    """Return the names of keypoints that a category lists."""
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _candidates(
    categories: list[Category], names: Sequence[str], wanted: str | None, log: IssueLog
) -> list[Category]:
    """Return the categories that are read; none where the file does not tell them apart."""
    if wanted is not None:
        chosen = [category for category in categories if category.name == wanted]
        if not chosen:
            known = ", ".join(category.name for category in categories) or "none"
            log.add(IssueType.CATEGORY, "the file", f"has no category {wanted!r} (it has {known})")
        return chosen
    posed = [category for category in categories if category.keypoints]
    if len(posed) <= 1:
        return posed
    same = [
        c
        for c in posed
        if sorted(map(_normalize_name, c.keypoints)) == sorted(map(_normalize_name, names))
    ]
    if not same:
        known = ", ".join(f"{c.name} ({len(c.keypoints)} keypoints)" for c in posed)
        log.add(IssueType.CATEGORY, "the file", f"has the categories {known}")
    return same


def _keypoint_order(
    category: Category, names: Sequence[str], skeleton: Skeleton, log: IssueLog
) -> tuple[int, ...] | None:
    """Return for each keypoint of `keypoints` its place in the file; None where it is the same."""
    given, own = (
        [_normalize_name(name) for name in category.keypoints],
        [_normalize_name(name) for name in names],
    )
    if not own or given in (own, []) or len(given) == skeleton.size > len(own):
        return None
    where = f"category {category.name!r}"
    lists = (
        f"{', '.join(category.keypoints)}, and the skeleton {skeleton.name!r} {', '.join(names)}"
    )
    if len(given) != len(own):
        log.add(
            IssueType.CATEGORY_SIZE, where, f"has {len(given)} keypoints, not {len(own)}: {lists}"
        )
        return None
    if sorted(given) != sorted(own) or len(set(own)) < len(own):
        log.add(IssueType.KEYPOINT_NAMES, where, f"has the keypoints {lists}")
        return None
    log.add(IssueType.KEYPOINT_ORDER, where, f"has the keypoints {lists}")
    return tuple(given.index(name) for name in own)


def _normalize_name(name: str) -> str:
    """Return a name without case and punctuation: "Left Eye" is "left_eye"."""
    return "".join(c for c in name.casefold() if c.isalnum())
