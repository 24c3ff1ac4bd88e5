"""Decorator that turns a function of a Hydra configuration into a command-line program."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeAlias

import hydra
from omegaconf import DictConfig, OmegaConf

from tagpose.cli.command_line import parse_command_line
from tagpose.cli.errors import friendly_errors
from tagpose.cli.memory import keep_freed_memory
from tagpose.models.zoo import resolve_checkpoint

Program: TypeAlias = Callable[[Sequence[str]], None]

_PACKAGE: Final = Path(__file__).parents[1]
_CHECKPOINT_KEYS: Final = ("checkpoint", "init_from")


def is_installed() -> bool:
    """Return whether the package was installed from a wheel and brings its own `conf/`."""
    return (_PACKAGE / "conf").is_dir()


def config_folder() -> Path:
    """Return the configuration folder: that of the wheel, or `conf/` of a checkout."""
    return (_PACKAGE if is_installed() else _PACKAGE.parents[1]) / "conf"


def resolve_checkpoints(cfg: DictConfig) -> None:
    """Replace names of published models in a configuration by their files, and download them."""
    for key in _CHECKPOINT_KEYS:
        if key in cfg and not OmegaConf.is_missing(cfg, key) and cfg[key]:
            cfg[key] = str(resolve_checkpoint(cfg[key]))


def program(
    name: str, *errors: type[Exception]
) -> Callable[[Callable[[DictConfig], Any]], Program]:
    """Decorate a function of a configuration so that it takes command-line arguments instead.

    Args:
        name: name of the primary configuration, `conf/NAME.yaml`.
        errors: further exception types, of libraries, to report in one sentence.

    Returns:
        A decorator. The program takes Hydra options and overrides, and exits with code 1 after a
        user error.
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
                    function(cfg)

            keep_freed_memory()
            sys.argv = [command[0], *words]
            try:
                run()
            finally:
                sys.argv = [*command, *words]

        return wraps(function)(main)

    return decorate
