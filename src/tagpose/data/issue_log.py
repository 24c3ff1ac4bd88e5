"""A log that collects the issues of an annotation file."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tagpose.data.issue_types import Issue, IssueType, Severity


class IssueLog:
    """The issues of one file, counted by type.

    Args:
        file: annotation file, for messages.
        max_kept: number of issues of each type that are kept; all are counted.
    """

    def __init__(self, file: Path, max_kept: int | None = None) -> None:
        self.file, self.max_kept = file, max_kept
        self.counts: dict[IssueType, int] = defaultdict(int)
        self.issues: dict[IssueType, list[Issue]] = defaultdict(list)
        self.first_error: Issue | None = None

    def add(
        self, type_: IssueType, where: str, detail: str, *image_ids: int, count: int = 1
    ) -> None:
        """Add one issue, or several that are told as one."""
        self._append(Issue(type_, where, detail, image_ids))
        self.counts[type_] += count - 1

    def extend(self, other: "IssueLog") -> None:
        """Add the issues of another log of the same file."""
        for type_, kept in other.issues.items():
            self.counts[type_] += other.counts[type_] - len(kept)
            for issue in kept:
                self._append(issue)

    def raise_error(self) -> None:
        """Raise the first error, if there is one.

        Raises:
            FileNotFoundError: it is a missing image file.
            ValueError: it is another one; the sentence has file, place, what was found and what to
                do.
        """
        if error := self.first_error:
            count, missing = self.counts[error.type], error.type is IssueType.FILE_MISSING
            first = f" (the first of {count} such issues)" if count > 1 else ""
            skip = "; data.on_error=skip leaves out such images" if error.image_ids else ""
            message = f"{self.file}: {error.where} {error.detail}{first}; {error.type.advice}{skip}"
            raise FileNotFoundError(message) if missing else ValueError(message)

    def warning_lines(self) -> list[str]:
        """Return one line for each type that warns: number, advice, and the first example."""
        warned = (Severity.SKIPPED, Severity.REPAIRED, Severity.WARNING)
        return [
            f"{self.file}: {self.counts[type_]} x {type_.description} ({type_.severity.value}): "
            f"{type_.advice}; first: {issues[0].where} {issues[0].detail}"
            for type_, issues in self.issues.items()
            if type_.severity in warned
        ]

    def _append(self, issue: Issue) -> None:
        """Count an issue, and keep it if there is room."""
        self.counts[issue.type] += 1
        kept = self.issues[issue.type]
        if self.max_kept is None or len(kept) < self.max_kept:
            kept.append(issue)
        if issue.type.severity is Severity.ERROR and self.first_error is None:
            self.first_error = issue


def emit_warnings(lines: Iterable[str]) -> None:
    """Emit each line as a warning; Python shows equal ones once."""
    for line in lines:
        warnings.warn(line, stacklevel=1)


def format_issues(log: IssueLog, max_examples: int) -> Iterator[str]:
    """Yield lines for people: types from the worst to the least, each with its first issues.

    Args:
        log: issues of a file.
        max_examples: number of issues of each type.
    """
    order = {type_: place for place, type_ in enumerate(IssueType)}
    severities = list(Severity)
    for type_ in sorted(
        log.issues,
        key=lambda t: (severities.index(t.severity), -log.counts[t], order[t]),
    ):
        yield f"{type_.severity.value}: {log.counts[type_]} x {type_.description}: {type_.advice}"
        issues = log.issues[type_][:max_examples]
        yield from (f"    {issue.where} {issue.detail}" for issue in issues)
        if len(issues) < log.counts[type_]:
            yield f"    and {log.counts[type_] - len(issues)} more"
