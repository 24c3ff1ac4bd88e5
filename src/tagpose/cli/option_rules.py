"""Rules for the values of options: types, ranges and choices."""

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

_MAX_LENGTH: Final = 4096  # of paths on Linux
_MAX_NUMBER: Final = 1e9  # of options without a smaller bound, so that typos are noticed


class Rule(NamedTuple):
    """Condition on the value of an option."""

    accepts: Callable[[Any], bool]
    expected: str  # noun phrase for the error message
    convert: Callable[[Any], Any] = lambda value: value  # of accepted values

    def check(self, key: str, value: Any) -> None:
        """Raise a ValueError that names the option if its value is invalid."""
        if not self.accepts(value):
            raise ValueError(f"{key}={format_value(value)} is invalid; use {self.expected}")


def number(low: float, high: float = _MAX_NUMBER) -> Rule:
    """Return the rule of finite numbers in a closed range."""
    return Rule(
        lambda value: _is_number(value) and low <= value <= high,
        f"a number of {low:g} or more"
        if high >= _MAX_NUMBER
        else f"a number from {low:g} to {high:g}",
    )


def positive(high: float = _MAX_NUMBER) -> Rule:
    """Return the rule of finite numbers above 0."""
    limit = f" and at most {high:g}" if high < _MAX_NUMBER else ""
    return Rule(lambda value: _is_number(value) and 0 < value <= high, f"a number above 0{limit}")


def integer(low: int, high: int = int(_MAX_NUMBER)) -> Rule:
    """Return the rule of integers in a closed range."""
    what = f"of {low} or more" if high >= _MAX_NUMBER else f"from {low} to {high}"
    return Rule(
        lambda value: isinstance(value, int) and _is_number(value) and low <= value <= high,
        f"an integer {what}",
    )


def multiple(divisor: int, low: int, high: int) -> Rule:
    """Return the rule of the multiples of an integer in a closed range."""
    within = integer(low, high)
    return Rule(
        lambda value: within.accepts(value) and value % divisor == 0,
        f"a multiple of {divisor} from {low} to {high}",
    )


def choice(*values: Any) -> Rule:
    """Return the rule of the listed values."""
    *others, last = [format_value(value) or "an empty text" for value in values]
    return Rule(
        lambda value: any(value == v and type(value) is type(v) for v in values),
        f"{', '.join(others)} or {last}" if others else last,
    )


def text(without: str = "", *, max_length: int = _MAX_LENGTH) -> Rule:
    """Return the rule of texts that lack some characters.

    Hydra parses `output=2024` as a number, which is converted to a text.
    """
    what = f"a text of 1 to {max_length} characters" if max_length < _MAX_LENGTH else "a text"
    return Rule(
        lambda value: (
            (isinstance(value, str) or _is_number(value))
            and 0 < len(str(value)) <= max_length
            and not set(without) & set(str(value))
        ),
        f"{what} without any of {without}" if without else what,
        str,
    )


def optional(rule: Rule) -> Rule:
    """Return the rule that also accepts null."""
    return either(rule, choice(None))


def either(*rules: Rule) -> Rule:
    """Return the rule of values that fit any of some rules."""
    return Rule(
        lambda value: any(rule.accepts(value) for rule in rules),
        ", or ".join(rule.expected for rule in rules),
        lambda value: next(rule.convert(value) for rule in rules if rule.accepts(value)),
    )


def list_of(rule: Rule, length: int | None = None, *, allow_empty: bool = False) -> Rule:
    """Return the rule of lists, of any length above 0 by default."""
    what = f"a list [...] of {length} entries" if length else "a list [...]"
    return Rule(
        lambda value: (
            isinstance(value, list)
            and (bool(value) or allow_empty)
            and length in (None, len(value))
            and all(rule.accepts(entry) for entry in value)
        ),
        f"{what}, in which each entry is {rule.expected}",
        lambda value: [rule.convert(entry) for entry in value],
    )


def find_rule(key: str, rules: Mapping[str, Rule]) -> Rule | None:
    """Return the rule of a key, or that of the first pattern that matches, or None."""
    patterns = (rule for pattern, rule in rules.items() if key_matches(key, pattern))
    return rules.get(key) or next(patterns, None)


def key_matches(key: str, pattern: str) -> bool:
    """Return whether each name of a key matches that of a pattern."""
    names, patterns = key.split("."), pattern.split(".")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def format_value(value: Any) -> str:
    """Format a value as on the command line, shortened."""
    shown = {None: "null", True: "true", False: "false"}
    line = shown[value] if value is None or isinstance(value, bool) else f"{value}"
    line = " ".join(line.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
