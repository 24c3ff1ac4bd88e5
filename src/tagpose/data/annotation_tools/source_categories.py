"""Categories of an export: the choice of one, and new names of its keypoints."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tagpose.data.annotation_tools.source_dataset import DropLog, Row, SourceDataset, id_key
from tagpose.data.coco_categories import keypoint_names


def is_in_category(annotation: Row, category: Row) -> bool:
    """Return whether an annotation belongs to a category or has no `category_id`."""
    category_id = category.get("id")
    return id_key(annotation.get("category_id", category_id)) == id_key(category_id)


def choose_category(
    categories: Iterable[Row], annotations: Iterable[Row], requested: str | None, file: Path
) -> Row | None:
    """Return the requested category, or the only annotated one with keypoints.

    Args:
        categories: categories of a COCO file.
        annotations: annotations of the same file.
        requested: name or id of a category; None if only one with keypoints is annotated.
        file: COCO file, for messages.

    Returns:
        The row of the category; None if no category lists keypoints.

    Raises:
        ValueError: the requested category does not exist, or the choice is ambiguous.
    """
    with_keypoints = [category for category in categories if keypoint_names(category)]
    names = ", ".join(str(category.get("name")) for category in with_keypoints)
    if requested is not None:
        matches = [
            c for c in with_keypoints if str(requested) in (str(c.get("name")), str(c.get("id")))
        ]
        if len(matches) != 1:
            choices = f"use one of {names}" if names else "no category lists keypoints"
            raise ValueError(
                f"{file}: category={requested} matches {len(matches)} categories with keypoints; "
                f"{choices}"
            )
        return matches[0]
    used = {id_key(row.get("category_id")) for row in annotations}
    candidates = [
        category for category in with_keypoints if id_key(category.get("id")) in used
    ] or with_keypoints
    if len(candidates) > 1:
        raise ValueError(
            f"{file} has {len(candidates)} categories with keypoints; choose one of {names} with "
            "category=NAME"
        )
    return candidates[0] if candidates else None


def rename_keypoints(
    source: SourceDataset, category: str | None, names: Sequence[str] | None
) -> SourceDataset:
    """Return the source with new keypoint names in the selected category."""
    if not names:
        return source
    rows = source.categories or [{"id": 1, "name": "object"}]
    matches = [row for row in rows if category in (None, str(row.get("name")), str(row.get("id")))]
    if len(matches) != 1:
        raise ValueError(
            f"keypoints=[...] renames the keypoints of one category; choose one of "
            f"{', '.join(str(row.get('name')) for row in rows)} with category=NAME"
        )
    renamed = matches[0] | {"keypoints": [str(name) for name in names]}
    return source._replace(categories=[renamed if row is matches[0] else row for row in rows])


def keep_category(source: SourceDataset, requested: str | None, log: DropLog) -> SourceDataset:
    """Return the source with the annotations of one category only."""
    category = choose_category(source.categories, source.annotations, requested, source.files[0])
    if category is None:
        return source
    kept: list[Row] = []
    for row in source.annotations:
        if is_in_category(row, category):
            kept.append(row)
        else:
            name = _category_name(row.get("category_id"), source.categories)
            log.add(f"annotations of other categories than {category.get('name')!r}", name)
    if not kept:
        raise ValueError(
            f"{source.files[0]} has no annotation of {category.get('name')!r}; choose another "
            "category=NAME"
        )
    return source._replace(annotations=kept, categories=[category])


def _category_name(category_id: object, categories: Sequence[Row]) -> str:
    """Return the name of a category, or its id if it is not listed."""
    names = (row.get("name") for row in categories if id_key(row.get("id")) == id_key(category_id))
    return str(next(names, category_id))
