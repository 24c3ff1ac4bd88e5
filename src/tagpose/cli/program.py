"""Programs: entry points that Hydra configures and whose errors are one sentence."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeAlias

import hydra
from omegaconf import DictConfig

from tagpose.cli.errors import friendly_errors, parse_command_line
from tagpose.cli.memory import keep_freed_memory

Program: TypeAlias = Callable[[Sequence[str]], None]


_PACKAGE: Final = Path(__file__).parents[1]


def is_installed() -> bool:
    """Whether the configuration is that of a wheel, not of a checkout."""
    return (_PACKAGE / "conf").is_dir()


def config_folder() -> Path:
    """Return the folder of the configuration: that of the wheel, or `conf/` of a checkout."""
    return (_PACKAGE if is_installed() else _PACKAGE.parents[1]) / "conf"


def program(
    name: str, *errors: type[Exception]
) -> Callable[[Callable[[DictConfig], Any]], Program]:
    """Decorate a function of a configuration, so that it is called with command-line arguments.

    Args:
        name: root of the configuration, the file `conf/NAME.yaml`.
        errors: further exceptions of libraries that are reported in one sentence.

    Returns:
        A decorator. The program takes options and overrides of Hydra; it exits with code 1 after an
        error of the user.
    """

    def decorate(function: Callable[[DictConfig], Any]) -> Program:
        def main(arguments: Sequence[str]) -> None:
            command = sys.argv[: max(1, len(sys.argv) - len(arguments))]
            words = parse_command_line(arguments)

            @hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=name)
            @wraps(function)
            def configured(cfg: DictConfig) -> None:
                # Lightning starts the other processes of a machine by the same command
                sys.argv = [*command, *words]
                with friendly_errors(*errors):
                    function(cfg)

            keep_freed_memory()
            sys.argv = [command[0], *words]
            try:
                configured()
            finally:
                sys.argv = [*command, *words]

        return wraps(function)(main)

    return decorate
