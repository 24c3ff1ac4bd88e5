"""A log that collects the issues of an annotation file."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from tagpose.data.issues import Issue, IssueType, Severity


class IssueLog:
    """The issues of one file, counted by type.

    Args:
        file: annotation file, for messages.
        keep: number of issues of each type that are kept; all are counted.
    """

    def __init__(self, file: Path, keep: int | None = None) -> None:
        self.file, self.keep = file, keep
        self.counts: dict[IssueType, int] = defaultdict(int)
        self.issues: dict[IssueType, list[Issue]] = defaultdict(list)
        self.first_error: Issue | None = None

    def add(self, type_: IssueType, where: str, what: str, *image_ids: int, count: int = 1) -> None:
        """Add one issue, or several that are told as one."""
        self._keep(Issue(type_, where, what, image_ids))
        self.counts[type_] += count - 1

    def extend(self, other: "IssueLog") -> None:
        """Add the issues of another log of the same file."""
        for type_, kept in other.issues.items():
            self.counts[type_] += other.counts[type_] - len(kept)
            for issue in kept:
                self._keep(issue)

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
            message = f"{self.file}: {error.where} {error.what}{first}; {error.type.advice}{skip}"
            raise FileNotFoundError(message) if missing else ValueError(message)

    def lines(self) -> list[str]:
        """Return one line for each type that warns: number, advice, and the first example."""
        warned = (Severity.SKIPPED, Severity.REPAIRED, Severity.WARNING)
        return [
            f"{self.file}: {self.counts[type_]} x {type_.found} ({type_.severity.value}): "
            f"{type_.advice}; first: {issues[0].where} {issues[0].what}"
            for type_, issues in self.issues.items()
            if type_.severity in warned
        ]

    def _keep(self, issue: Issue) -> None:
        """Count an issue, and keep it if there is room."""
        self.counts[issue.type] += 1
        kept = self.issues[issue.type]
        if self.keep is None or len(kept) < self.keep:
            kept.append(issue)
        if issue.type.severity is Severity.ERROR and self.first_error is None:
            self.first_error = issue


def warn_all(lines: Iterable[str]) -> None:
    """Emit each line as a warning; Python shows equal ones once."""
    for line in lines:
        warnings.warn(line, stacklevel=1)


def listing(log: IssueLog, shown: int) -> Iterator[str]:
    """Yield lines for people: types from the worst to the least, each with its first issues.

    Args:
        log: issues of a file.
        shown: number of issues of each type.
    """
    order = {type_: place for place, type_ in enumerate(IssueType)}
    severities = list(Severity)
    for type_ in sorted(
        log.issues,
        key=lambda t: (severities.index(t.severity), -log.counts[t], order[t]),
    ):
        yield f"{type_.severity.value}: {log.counts[type_]} x {type_.found}: {type_.advice}"
        issues = log.issues[type_][:shown]
        yield from (f"    {issue.where} {issue.what}" for issue in issues)
        if len(issues) < log.counts[type_]:
            yield f"    and {log.counts[type_] - len(issues)} more"
