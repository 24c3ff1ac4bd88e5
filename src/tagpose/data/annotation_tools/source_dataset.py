"""Annotated images of an export as COCO rows, and a log of dropped rows and files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

Row = dict[str, Any]  # one object of a COCO file; unknown keys are preserved

TRAIN: Final = "train"
VAL: Final = "val"
TEST: Final = "test"
_SPLITS: Final = {TRAIN: TRAIN, VAL: VAL, "valid": VAL, "validation": VAL, TEST: TEST}
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
    """Data set read from an export."""

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


def is_in_category(annotation: Row, category: Row) -> bool:
    """Return whether an annotation belongs to a category or has no `category_id`."""
    category_id = category.get("id")
    return id_key(annotation.get("category_id", category_id)) == id_key(category_id)


def split_of(path: Path) -> str | None:
    """Return the split in the innermost part of a path that contains one."""
    for part in reversed(path.parts):
        for word in re.findall(r"[a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return None


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
