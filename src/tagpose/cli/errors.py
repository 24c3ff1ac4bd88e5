"""Errors of users in one sentence."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import requires
from typing import Final

from hydra.errors import ConfigCompositionException, HydraException, InstantiationException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

_USER_ERRORS: Final[tuple[type[Exception], ...]] = (
    ImportError,
    OSError,
    ValueError,
    TypeError,
    RuntimeError,
    LookupError,
    UserWarning,
    HydraException,
    OmegaConfBaseException,
)


@contextmanager
def friendly_errors(*errors: type[Exception]) -> Iterator[None]:
    """Exit with code 1 and one sentence on stderr instead of a traceback.

    TAGPOSE_TRACEBACK=1 shows the traceback, for debugging.

    Args:
        errors: further exception types, of libraries that not every program imports.
    """
    try:
        yield
    except _USER_ERRORS + errors as error:
        if os.environ.get("TAGPOSE_TRACEBACK"):
            raise
        print(f"error: {format_error(error)}", file=sys.stderr)
        raise SystemExit(1) from None


def format_error(error: BaseException) -> str:
    """Return the message of an error without the layers that libraries wrap around it."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is missing; set it with {error.full_key}=VALUE"
    if isinstance(error, ModuleNotFoundError) and (extra := _find_extra(error.name)):
        return f'{error.name} is not installed; install it with pip install "tagpose[{extra}]"'
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which not every program imports
        return (
            f"{str(error).partition('. ')[0]}; use a smaller data.batch_size with more "
            "trainer.accumulate_grad_batches, a smaller input_size, or bf16 instead of float32"
        )
    if isinstance(error, ConfigCompositionException):
        return _format_composition_error(error)
    # Hydra wraps the errors of constructors and of their imports
    if isinstance(error, (InstantiationException, ImportError)) and error.__cause__ is not None:
        return format_error(error.__cause__)
    # the error of a DataLoader worker has its traceback as text; the last line is the message
    text = str(error).strip()
    if "Original Traceback" in text:
        return text.splitlines()[-1].partition(": ")[2]
    return text or type(error).__name__


def _format_composition_error(error: ConfigCompositionException) -> str:
    """Return a message that names the unknown key and the nearest or all known ones."""
    cause = error.__cause__
    if not isinstance(cause, OmegaConfBaseException) or cause.parent_node is None:
        # the first lines are the message; Hydra's search path follows
        lines = str(error).partition("Config search path")[0].splitlines()
        return ", ".join(filter(None, map(str.strip, lines))).replace(":,", ":")
    known = [str(key) for key in cause.parent_node if key != "_target_"]
    near = get_close_matches(str(cause.key), known, n=1)
    name = cause.full_key or cause.key
    if near:
        return f"unknown key {name} in the configuration; did you mean {near[0]}?"
    listed = f"one of {', '.join(known)}, or " if known else ""
    return (
        f"unknown key {name} in the configuration; use {listed}+{name}=VALUE for an argument that "
        "conf/ does not list"
    )


def _find_extra(module: str | None) -> str | None:
    """Return the smallest extra of this package that installs a module."""
    project = str(module).replace("_", "[-_]")
    extras: dict[str, list[str]] = {}
    for requirement in requires("tagpose") or ():
        if match := re.search(r"extra == ['\"](\w+)['\"]", requirement):
            extras.setdefault(match[1], []).append(requirement)
    matching = [
        (len(requirements), name)
        for name, requirements in extras.items()
        if any(re.match(rf"{project}\b", requirement) for requirement in requirements)
    ]
    return min(matching)[1] if matching else None
