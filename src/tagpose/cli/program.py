"""Decorator that turns a function of a Hydra configuration into a command-line program."""

import ctypes
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeAlias

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from tagpose.cli.errors import friendly_errors
from tagpose.cli.option_checks import check_options

Program: TypeAlias = Callable[[Sequence[str]], None]

_PACKAGE: Final = Path(__file__).parents[1]

_OVERRIDE: Final = re.compile(r"~|[+]*[\w./@:-]+=")
# `wandb agent` writes null as None, also in lists and pairs; strings and paths are left alone
_PYTHON_NULL: Final = re.compile(r"""('[^']*'|"[^"]*")|(?:^|(?<=[\[{(,:])) *None *(?=$|[\]}),])""")

_M_MMAP_MAX: Final = -4  # parameters of mallopt(3), from glibc's malloc.h
_M_TRIM_THRESHOLD: Final = -1
_INT_MAX: Final = 2**31 - 1


def is_installed() -> bool:
    """Return whether the package was installed from a wheel and brings its own `conf/`."""
    return (_PACKAGE / "conf").is_dir()


def config_folder() -> Path:
    """Return the configuration folder: that of the wheel, or `conf/` of a checkout."""
    return (_PACKAGE if is_installed() else _PACKAGE.parents[1]) / "conf"


def program(
    name: str, *errors: type[Exception]
) -> Callable[[Callable[[DictConfig], Any]], Program]:
    """Decorate a function of a configuration so that it takes command-line arguments instead.

    Args:
        name: name of the primary configuration, `conf/NAME.yaml`.
        errors: further exception types, of libraries, to report in one sentence.

    Returns:
        A decorator. The program takes Hydra options and overrides, checks the options, and exits
        with code 1 after a user error.
    """

    def decorate(function: Callable[[DictConfig], Any]) -> Program:
        def main(arguments: Sequence[str]) -> None:
            command = sys.argv[: max(1, len(sys.argv) - len(arguments))]
            words = parse_command_line(arguments)

            @hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=name)
            @wraps(function)
            def run(cfg: DictConfig) -> None:
                # Lightning launches the other processes of a machine with the same command
                sys.argv = [*command, *words]
                # inside of Hydra, whose job runner prints its own message otherwise
                with friendly_errors(*errors):
                    check_options(name, cfg)
                    function(cfg)

            keep_freed_memory()
            sys.argv = [command[0], *words]
            try:
                run()
            finally:
                sys.argv = [*command, *words]

        return wraps(function)(main)

    return decorate


def parse_command_line(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a program as Hydra accepts them, and let Hydra raise its errors."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints its errors at length and exits
    return move_options_last([quote_override(argument) for argument in arguments])


def move_options_last(words: Sequence[str]) -> list[str]:
    """Return command-line words with Hydra's options after the overrides.

    Hydra's parser rejects overrides on both sides of an option, as in `a=1 --config-dir=DIR +b=2`.
    """
    overrides = [word for word in words if not word.startswith("-") and _OVERRIDE.match(word)]
    return [*overrides, *(word for word in words if word not in overrides)]


def quote_override(word: str) -> str:
    """Return a command-line word with its value quoted if Hydra could not parse it otherwise.

    Hydra's grammar rejects `images=Zürich (2).jpg`, `checkpoint=epoch=3.ckpt` and `root=~/coco`.
    Such a value is a plain string, unless it starts as a list, a dictionary or in quotes. In a list
    without quotes, overrides are quoted: `train_overrides=[seed=1]`. A leading `~` is expanded as
    in a shell. None becomes null, because `wandb agent` writes the null of a sweep file that way.
    """
    key, is_override, value = word.partition("=")
    if not is_override or not re.fullmatch(r"[+~]*\w[\w./@:-]*", key):
        return word
    with_null = _PYTHON_NULL.sub(lambda match: match[1] or "null", value)
    if value.startswith("[") and value.endswith("]") and not {"'", '"'} & set(value):
        return f"{key}=[{','.join(map(_quote_item, _split_items(with_null[1:-1])))}]"
    word = f"{key}={with_null}"
    if value[:1] in tuple("[{(\"'"):
        return word
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return f"{key}={_quote(os.path.expanduser(value))}"  # noqa: PTH111 -- a Path would normalize
    return word


def quote_sweep(word: str) -> str:
    """Return an override of a single run with its value quoted if Hydra would read a sweep.

    `images=Rome, 2024` is a path in a program that another program starts. On the command line it
    is an error, in which Hydra explains how to write a string, a list and a sweep.
    """
    with suppress(HydraException):  # an option of Hydra, or a value for `quote_override`
        if OverridesParser.create().parse_override(word).is_sweep_override():
            key, _, value = word.partition("=")
            return f"{key}={_quote(value)}"
    return word


def _quote(value: str) -> str:
    """Return a value as a quoted string of Hydra's grammar ("Quoted values")."""
    # backslashes are escaped only before a quote
    escaped = re.sub(
        r"(\\*)('|$)", lambda match: 2 * match[1] + match[2].replace("'", "\\'"), value
    )
    return f"'{escaped}'"


def _split_items(text: str) -> list[str]:
    """Split a text at the commas that are not in brackets."""
    items, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if character == "," and not depth:
            items.append("")
        else:
            items[-1] += character
    return items


def _quote_item(item: str) -> str:
    """Return an item of a list in quotes if it is an override."""
    return f"'{item.strip()}'" if _OVERRIDE.match(item.strip()) else item


def keep_freed_memory() -> None:
    """Call glibc's `mallopt` so that this process keeps freed memory for the next large tensor.

    By default glibc returns every large tensor to the kernel, which clears its pages when the next
    one is allocated: 20 ms for 70 MB on a small machine, ten times the time to fill it. The setting
    affects the whole process, so only programs call this. Without glibc nothing changes.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _INT_MAX)
