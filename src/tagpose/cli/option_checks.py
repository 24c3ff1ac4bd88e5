"""Checks of option values, which run before a program imports, reads or writes anything."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from tagpose.cli.option_rules import Rule, find_rule, format_value, key_matches
from tagpose.cli.option_table import find_rules

# option of each program that names its output folder, if it is not `output`
_OUTPUT_KEYS: Final = {
    "ablate": "run", "data_download": "root", "data_synthesize": "root", "demo": "run",
    "reproduce": "run",
}  # fmt: skip
_FILE_OUTPUTS: Final = ("benchmark",)  # programs whose output is a file


def check_options(program: str, cfg: DictConfig) -> None:
    """Check the types and ranges of all options of a program, and that its output is writable.

    Args:
        program: name of the primary configuration.
        cfg: composed configuration.

    Raises:
        ValueError: an option has an invalid value, or no files can be written to the output.
    """
    check_values(cfg, find_rules(program))
    key = _OUTPUT_KEYS.get(program, "output")
    if cfg.get(key) is not None:
        output = Path(cfg[key])
        check_writable(output.parent if program in _FILE_OUTPUTS else output, key)


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
            rule.check(key, value)
            if not entry.is_reference and rule.convert(value) != value:
                OmegaConf.update(cfg, key, rule.convert(value))
        elif not isinstance(value, dict) and any(key_matches(key, group) for group in groups):
            raise ValueError(
                f"{key}={format_value(value)} is invalid, as {key} is a group of options; set them "
                f"one by one, as {key}.NAME=VALUE, or remove the group with ~{key}"
            )


class _Entry(NamedTuple):
    """Option or group of options in a configuration."""

    key: str
    value: Any  # resolved, as plain Python object
    is_reference: bool


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
