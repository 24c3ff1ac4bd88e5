"""Annotated images of an export as COCO rows, the choice of their category, and dropped rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

Row = dict[str, Any]  # one object of a COCO file; unknown keys are preserved

_MAX_EXAMPLES: Final = 3  # per reason


@dataclass
class DropLog:
    """Log of dropped rows and files by reason."""

    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: object) -> None:
        """Log one dropped item."""
        self.examples.setdefault(reason, []).append(str(example))

    def lines(self) -> list[str]:
        """Return one line per reason with the count and the first examples."""
        return [
            f"dropped: {len(examples)} {reason} ({', '.join(examples[:_MAX_EXAMPLES])}"
            f"{', ...' if len(examples) > _MAX_EXAMPLES else ''})"
            for reason, examples in self.examples.items()
        ]


class SourceDataset(NamedTuple):
    """Dataset read from an export."""

    kind: str  # format, such as "COCO keypoints"
    files: tuple[Path, ...]  # files that were read
    info: Row
    categories: list[Row]
    images: list[Row]  # `file_name` is relative to `folder`
    annotations: list[Row]
    folder: Path  # of the images
    # TRAIN, VAL or TEST by `id_key` of the image id, if names of files or folders contain the split
    splits: dict[str, str]
    notes: tuple[str, ...] = ()  # assumptions for the user to check


def id_key(row_id: object) -> str:
    """Return an id in comparable form, because some tools write both 7 and "7"."""
    return str(row_id)


def describe_source(source: SourceDataset) -> str:
    """Return one line with the counts of a source."""
    names = ", ".join(file.name for file in source.files[:3])
    more = f" and {len(source.files) - 3} more" if len(source.files) > 3 else ""
    counts = Counter(source.splits.values())
    splits = "".join(f", {split} {n}" for split, n in sorted(counts.items()) if len(counts) > 1)
    return (
        f"read: {len(source.images)} images, {len(source.annotations)} annotations "
        f"({source.kind}: {names}{more}{splits})"
    )


def has_coordinates(annotation: Row) -> bool:
    """Return whether an annotation has a keypoint, flat or nested, that is not at 0, 0."""
    values = annotation.get("keypoints")
    rows = values if isinstance(values, list) else []
    flat = [value for row in rows for value in (row if isinstance(row, list) else [row])]
    return any(value not in (0, None, "", "0") for value in flat)


def annotation_keypoints(annotation: Row, size: int) -> np.ndarray | None:
    """Return the keypoints [K, 3] of an annotation, flat or nested; None if they are not `size`."""
    try:
        flat = np.array(annotation.get("keypoints"), float).ravel()
    except (TypeError, ValueError):
        return None
    return flat.reshape(-1, 3) if flat.size == 3 * size and np.isfinite(flat).all() else None


def is_in_category(annotation: Row, category: Row) -> bool:
    """Return whether an annotation belongs to a category or has no `category_id`."""
    category_id = category.get("id")
    return id_key(annotation.get("category_id", category_id)) == id_key(category_id)


def keypoint_names(category: Row) -> list[str]:
    """Return the keypoint names of a category, with numbers converted to text."""
    names = category.get("keypoints")
    return [str(name) for name in names] if isinstance(names, list) else []


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
