"""Log that collects, counts and reports the issues of an annotation file."""

import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from reprlib import repr as brief
from typing import NamedTuple

from tagpose.data.issue_types import IssueType, Severity


class Issue(NamedTuple):
    """One issue of a file."""

    type: IssueType
    where: str  # the image or annotation, by its id or its index in the file
    detail: str  # predicate of a message "WHERE DETAIL", such as "has the bbox [1, 2]"
    image_ids: tuple[int, ...] = ()  # images that on_error=skip drops because of the issue


class IssueLog:
    """Issues of one file, counted by type.

    Args:
        file: annotation file, for messages.
        max_kept: number of issues of each type to keep, None for all; all issues are counted.
    """

    def __init__(self, file: Path, max_kept: int | None = None) -> None:
        self.file, self.max_kept = file, max_kept
        self.counts: dict[IssueType, int] = defaultdict(int)
        self.issues: dict[IssueType, list[Issue]] = defaultdict(list)
        self.first_error: Issue | None = None

    def add(
        self, type_: IssueType, where: str, detail: str, *image_ids: int, count: int = 1
    ) -> None:
        """Add an issue, which may stand for `count` occurrences."""
        self._append(Issue(type_, where, detail, image_ids))
        self.counts[type_] += count - 1

    def add_row(
        self, noun: str, row: object, index: int, type_: IssueType, detail: str, *image_ids: int
    ) -> None:
        """Add an issue of one row of the file.

        The row is described only now, because rows without issues need no description.
        """
        self.add(type_, describe_row(noun, row, index), detail, *image_ids)

    def extend(self, other: "IssueLog") -> None:
        """Add the issues of another log of the same file."""
        for type_, issues in other.issues.items():
            self.counts[type_] += other.counts[type_] - len(issues)
            for issue in issues:
                self._append(issue)

    def raise_error(self) -> None:
        """Raise the first error in the log, if there is one.

        Raises:
            FileNotFoundError: the first error is a missing image file.
            ValueError: the first error is of another type; the message names the file, the row,
                what was found and what to do.
        """
        if error := self.first_error:
            count, missing = self.counts[error.type], error.type is IssueType.FILE_MISSING
            first = f" (the first of {count} such issues)" if count > 1 else ""
            skip = "; data.on_error=skip drops such images" if error.image_ids else ""
            message = f"{self.file}: {error.where} {error.detail}{first}; {error.type.advice}{skip}"
            raise FileNotFoundError(message) if missing else ValueError(message)

    def warning_lines(self) -> list[str]:
        """Return one line per type that warns: count, description, advice and first example."""
        warned = (Severity.SKIPPED, Severity.REPAIRED, Severity.WARNING)
        return [
            f"{self.file}: {self.counts[type_]} x {type_.description} ({type_.severity.value}): "
            f"{type_.advice}; first: {issues[0].where} {issues[0].detail}"
            for type_, issues in self.issues.items()
            if type_.severity in warned
        ]

    def _append(self, issue: Issue) -> None:
        """Count an issue, and keep it if fewer than `max_kept` of its type are kept."""
        self.counts[issue.type] += 1
        issues = self.issues[issue.type]
        if self.max_kept is None or len(issues) < self.max_kept:
            issues.append(issue)
        if issue.type.severity is Severity.ERROR and self.first_error is None:
            self.first_error = issue


def describe_row(noun: str, row: object, index: int) -> str:
    """Return the name of a row in messages: its id, or its index in the list if it has no id."""
    row_id = row.get("id") if isinstance(row, dict) else None
    usable = isinstance(row_id, int | str) and row_id != ""
    return f"{noun} {brief(row_id).strip(chr(39))}" if usable else f"{noun}s[{index}]"


def emit_warnings(lines: Iterable[str]) -> None:
    """Emit each line as a warning; Python shows identical ones once."""
    for line in lines:
        warnings.warn(line, stacklevel=1)
