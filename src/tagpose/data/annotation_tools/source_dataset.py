"""Annotated images of an export as COCO rows, and the log of dropped rows."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

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
