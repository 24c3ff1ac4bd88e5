"""Annotated images of one source, as rows of a COCO file, and a log of what was left out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

Row = dict[str, Any]  # one object of a COCO file; keys that are not read here are kept unchanged

TRAIN: Final = "train"
VAL: Final = "val"
TEST: Final = "test"
_SPLITS: Final = {TRAIN: TRAIN, VAL: VAL, "valid": VAL, "validation": VAL, TEST: TEST}
_MAX_EXAMPLES: Final = 3  # examples of each reason


@dataclass
class DropLog:
    """Log of rows and files that were left out, by reason."""

    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: object) -> None:
        """Note that one thing was left out for a reason."""
        self.examples.setdefault(reason, []).append(str(example))

    def lines(self) -> list[str]:
        """Return one line per reason with the count and the first examples."""
        return [
            f"dropped: {len(found)} {reason} ({', '.join(found[:_MAX_EXAMPLES])}"
            f"{', ...' if len(found) > _MAX_EXAMPLES else ''})"
            for reason, found in self.examples.items()
        ]


class SourceDataset(NamedTuple):
    """Everything that was read of one source."""

    kind: str  # such as "COCO keypoints"
    files: tuple[Path, ...]  # that were read
    info: Row
    categories: list[Row]
    images: list[Row]  # `file_name` is relative to `folder`
    annotations: list[Row]
    folder: Path  # of the images
    # TRAIN, VAL or TEST by `id_key` of the image id, where files or folders are named so
    splits: dict[str, str]
    notes: tuple[str, ...] = ()  # assumptions that the owner should know of


def id_key(row_id: object) -> str:
    """Return an id for comparisons: some tools write the number 7 and the text "7"."""
    return str(row_id)


def is_in_category(annotation: Row, category: Row) -> bool:
    """Whether an annotation is of a category; one without `category_id` is of any."""
    own = category.get("id")
    return id_key(annotation.get("category_id", own)) == id_key(own)


def split_of(path: Path) -> str | None:
    """Return the split that a path is named after, by its innermost part with such a name."""
    for part in reversed(path.parts):
        for word in re.findall(r"[a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return None


def keypoint_names(category: Row) -> list[str]:
    """Return the names of a category's keypoints; numbers become text."""
    names = category.get("keypoints")
    return [str(name) for name in names] if isinstance(names, list) else []


def choose_category(
    categories: Iterable[Row], annotations: Iterable[Row], wanted: str | None, file: Path
) -> Row | None:
    """Return the category with keypoints that is annotated, or the wanted one.

    Args:
        categories: of a COCO file.
        annotations: of the same file.
        wanted: name or id of a category; None if there is a single one with keypoints.
        file: for messages.

    Returns:
        The row of the category; None if no category lists keypoints.

    Raises:
        ValueError: if there is no such category, or if several could be meant.
    """
    listed = [category for category in categories if keypoint_names(category)]
    names = ", ".join(str(category.get("name")) for category in listed)
    if wanted is not None:
        meant = [c for c in listed if str(wanted) in (str(c.get("name")), str(c.get("id")))]
        if len(meant) != 1:
            raise ValueError(
                f"{file}: category={wanted} names {len(meant)} of the categories with keypoints; "
                f"use one of {names or 'none, as no category lists any'}"
            )
        return meant[0]
    used = {id_key(row.get("category_id")) for row in annotations}
    annotated = [category for category in listed if id_key(category.get("id")) in used] or listed
    if len(annotated) > 1:
        raise ValueError(
            f"{file} has {len(annotated)} categories with keypoints; choose one by category=NAME "
            f"of {names}"
        )
    return annotated[0] if annotated else None
