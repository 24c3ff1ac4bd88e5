"""Checks of option values, which run before a program imports, reads or writes anything."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

_MAX_LENGTH: Final = 4096  # of paths on Linux
_MAX_NUMBER: Final = 1e9  # of options without a smaller bound, so that typos are noticed


class Rule(NamedTuple):
    """Condition on the value of an option."""

    accepts: Callable[[Any], bool]
    expected: str  # noun phrase for the error message
    convert: Callable[[Any], Any] = lambda value: value  # of accepted values


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
    *others, last = [_format(value) or "an empty text" for value in values]
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_values(cfg: DictConfig, rules: Mapping[str, Rule]) -> None:
    """Check the options of a configuration, and convert numbers to texts where texts are expected.

    Args:
        cfg: composed configuration, which is changed in place. Options without a rule are left to
            the class that takes them.
        rules: rules by key; `*` in a key matches any name.

    Raises:
        ValueError: an option has an invalid value.
    """
    groups = {key.rsplit(".", n)[0] for key in rules for n in range(1, 1 + key.count("."))}
    # options that refer to another one come last, so that the error names the one that was set
    for entry in sorted(_walk(cfg), key=lambda entry: entry.is_reference):
        key, value = entry.key, entry.value
        if isinstance(value, dict) and "_target_" in value:
            continue  # an object, which checks its own arguments
        if value is None and entry.is_reference:
            continue  # to an option that the program sets later
        if rule := find_rule(key, rules):
            check_value(key, value, rule)
            if not entry.is_reference and rule.convert(value) != value:
                OmegaConf.update(cfg, key, rule.convert(value))
        elif not isinstance(value, dict) and any(_matches(key, group) for group in groups):
            raise ValueError(
                f"{key}={_format(value)} is invalid, as {key} is a group of options; set them one "
                f"by one, as {key}.NAME=VALUE, or remove the group with ~{key}"
            )


def check_value(key: str, value: Any, rule: Rule) -> None:
    """Raise a ValueError that names the option if its value is invalid."""
    if not rule.accepts(value):
        raise ValueError(f"{key}={_format(value)} is invalid; use {rule.expected}")


def find_rule(key: str, rules: Mapping[str, Rule]) -> Rule | None:
    """Return the rule of a key, or that of the first pattern that matches, or None."""
    patterns = (rule for pattern, rule in rules.items() if _matches(key, pattern))
    return rules.get(key) or next(patterns, None)


class _Entry(NamedTuple):
    """Option or group of options in a configuration."""

    key: str
    value: Any  # resolved, as plain Python object
    is_reference: bool


def _matches(key: str, pattern: str) -> bool:
    """Return whether each name of a key matches that of a pattern."""
    names, patterns = key.split("."), pattern.split(".")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _walk(cfg: DictConfig, prefix: str = "") -> Iterator[_Entry]:
    """Yield the options and groups of a configuration, without those that are missing."""
    for name in map(str, cfg):
        key = f"{prefix}{name}"
        if OmegaConf.is_missing(cfg, name) or name in ("_target_", "_partial_"):
            continue
        is_reference = OmegaConf.is_interpolation(cfg, name)
        try:
            value = cfg[name]
        except InterpolationKeyError:  # to an option that the program sets later
            continue
        if isinstance(value, DictConfig):
            if is_reference:  # checked where it is defined
                continue
            yield from _walk(value, f"{key}.")
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=False)
        yield _Entry(key, value, is_reference)


def _format(value: Any) -> str:
    """Format a value as on the command line, shortened."""
    shown = {None: "null", True: "true", False: "false"}
    line = shown[value] if value is None or isinstance(value, bool) else f"{value}"
    line = " ".join(line.split())
    return line if len(line) <= 80 else f"{line[:77]}..."


def check_writable(path: Path, key: str) -> None:
    """Check that files can be written below a path, which may be missing.

    Raises:
        ValueError: the path, or the folder that would contain it, is not a writable folder.
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise ValueError(f"{key}={path} is invalid, as {existing} is a file; use a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(
            f"{key}={path} is invalid, as {existing} is not writable; use another folder"
        )
