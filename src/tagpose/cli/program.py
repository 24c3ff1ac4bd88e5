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
_MULTIRUN: Final = {"-m", "--multirun", "hydra.mode=MULTIRUN"}
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
    multirun = not _MULTIRUN.isdisjoint(arguments)
    return move_options_last([quote_override(word, multirun=multirun) for word in arguments])


def move_options_last(words: Sequence[str]) -> list[str]:
    """Return command-line words with Hydra's options after the overrides.

    Hydra's parser rejects overrides on both sides of an option, as in `a=1 --config-dir=DIR +b=2`.
    """
    overrides = [word for word in words if not word.startswith("-") and _OVERRIDE.match(word)]
    return [*overrides, *(word for word in words if word not in overrides)]


def quote_override(word: str, *, multirun: bool = False) -> str:
    """Return a command-line word with its value quoted if Hydra could not parse it otherwise.

    Hydra's grammar rejects `images=Zürich (2).jpg`, `checkpoint=epoch=3.ckpt` and `root=~/coco`,
    and `images=Rome, 2024.jpg` would be a choice of values. Such a value is a plain string, unless
    it starts as a list, a dictionary or in quotes. In a list without quotes, overrides are quoted:
    `train_overrides=[seed=1]`. A leading `~` is expanded as in a shell. None becomes null, because
    `wandb agent` writes the null of a sweep file that way.

    Args:
        word: argument of a program.
        multirun: whether Hydra runs the program once for each choice, `lr=1e-3,2e-3`.
    """
    key, is_override, value = word.partition("=")
    if not is_override or not re.fullmatch(r"[+~]*\w[\w./@:-]*", key):
        return word
    value = _PYTHON_NULL.sub(lambda match: match[1] or "null", value)
    word = f"{key}={value}"
    if value.startswith("[") and value.endswith("]") and not {"'", '"'} & set(value):
        return f"{key}=[{','.join(map(_quote_item, _split_items(value[1:-1])))}]"
    if value[:1] in tuple("[{(\"'"):
        return word
    with suppress(HydraException):
        override = OverridesParser.create().parse_override(word)
        if multirun or not override.is_sweep_override():
            return word
    expanded = os.path.expanduser(value)  # noqa: PTH111 -- a Path would normalize the value
    # backslashes are escaped only before a quote (Hydra's grammar, "Quoted values")
    quoted = re.sub(
        r"(\\*)('|$)", lambda match: 2 * match[1] + match[2].replace("'", "\\'"), expanded
    )
    return f"{key}='{quoted}'"


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
