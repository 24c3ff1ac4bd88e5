"""Categories of a COCO file, and the choice of those with the keypoints of a skeleton."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tagpose.data.coco_fields import parse_id
from tagpose.data.issues import IssueLog, IssueType
from tagpose.skeletons.skeleton import Skeleton


class Category(NamedTuple):
    """Category of an annotation file."""

    id: int | None
    name: str
    keypoints: tuple[str, ...]  # keypoint names; empty if the file lists none


class CategoryChoice(NamedTuple):
    """Categories to skip, and the keypoint order of those to read."""

    listed: frozenset[int]  # category ids; empty if the file lists none
    skipped: dict[int, str]  # category id -> name
    keypoint_orders: dict[int, tuple[int, ...]]  # category id -> index in the file per keypoint


def choose_categories(
    content: object, skeleton: Skeleton, wanted: str | None, log: IssueLog
) -> CategoryChoice:
    """Choose the categories that have the keypoints of a skeleton.

    If only one category has keypoints, it is chosen whatever their names are. Of several
    categories, those with exactly the keypoint names of the skeleton are chosen. For whole-body
    skeletons the names of the body are compared.

    Args:
        content: value of `categories` in the file; without categories all annotations are read.
        skeleton: skeleton to read.
        wanted: name of the category, None to choose by keypoint names.
        log: receives the issues.
    """
    categories = _parse_categories(content)
    names = skeleton.keypoints[skeleton.json_keys.get("keypoints", slice(0))]
    chosen = _select_categories(categories, names, wanted, log)
    orders = {}
    for category in chosen:
        order = _keypoint_order(category, names, skeleton, log)
        if order and category.id is not None:
            orders[category.id] = order
    ids = {category.id for category in chosen}
    others = (category for category in categories if chosen and category.id not in ids)
    return CategoryChoice(
        listed=frozenset(c.id for c in categories if c.id is not None),
        skipped={c.id: c.name for c in others if c.id is not None},
        keypoint_orders=orders,
    )


def keypoint_names(category: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keypoint names that the row of a category lists, with numbers as text."""
    names = category.get("keypoints")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _parse_categories(content: object) -> list[Category]:
    """Return the categories that a file lists."""
    rows = [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []
    return [
        Category(parse_id(row.get("id")), str(row.get("name")), keypoint_names(row)) for row in rows
    ]


def _select_categories(
    categories: list[Category], names: Sequence[str], wanted: str | None, log: IssueLog
) -> list[Category]:
    """Return the categories to read; an empty list if the choice is ambiguous."""
    if wanted is not None:
        chosen = [category for category in categories if category.name == wanted]
        if not chosen:
            known = ", ".join(category.name for category in categories) or "none"
            log.add(IssueType.CATEGORY, "the file", f"has no category {wanted!r} (it has {known})")
        return chosen
    with_keypoints = [category for category in categories if category.keypoints]
    if len(with_keypoints) <= 1:
        return with_keypoints
    expected = sorted(map(_normalize_name, names))
    matching = [c for c in with_keypoints if sorted(map(_normalize_name, c.keypoints)) == expected]
    if not matching:
        known = ", ".join(f"{c.name} ({len(c.keypoints)} keypoints)" for c in with_keypoints)
        log.add(IssueType.CATEGORY, "the file", f"has the categories {known}")
    return matching


def _keypoint_order(
    category: Category, names: Sequence[str], skeleton: Skeleton, log: IssueLog
) -> tuple[int, ...] | None:
    """Return the index in the file of each keypoint of `names`; None if the order is the same."""
    file_names = [_normalize_name(name) for name in category.keypoints]
    own_names = [_normalize_name(name) for name in names]
    # files of whole bodies may list the names of all keypoints
    lists_all = len(file_names) == skeleton.size > len(own_names)
    if not own_names or file_names in (own_names, []) or lists_all:
        return None
    where = f"category {category.name!r}"
    expected = f"the skeleton {skeleton.name!r} has {', '.join(names)}"
    lists = f"{', '.join(category.keypoints)}, and {expected}"
    if len(file_names) != len(own_names):
        detail = f"has {len(file_names)} keypoints, not {len(own_names)}: {lists}"
        log.add(IssueType.CATEGORY_SIZE, where, detail)
        return None
    if sorted(file_names) != sorted(own_names) or len(set(own_names)) < len(own_names):
        log.add(IssueType.KEYPOINT_NAMES, where, f"has the keypoints {lists}")
        return None
    log.add(IssueType.KEYPOINT_ORDER, where, f"has the keypoints {lists}")
    return tuple(file_names.index(name) for name in own_names)


def _normalize_name(name: str) -> str:
    """Return a name without case and punctuation: "Left Eye" and "left_eye" become equal."""
    return "".join(c for c in name.casefold() if c.isalnum())
