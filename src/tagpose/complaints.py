"""This file turns an error of the border into one sentence and an exit code."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import requires
from typing import Final

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

_TOLD: Final[tuple[type[Exception], ...]] = (
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
def told_in_a_sentence(*others: type[Exception]) -> Iterator[None]:
    """End the program with one sentence instead of a traceback.

    TAGPOSE_TRACEBACK=1 shows the traceback, for those who mend the program.

    Args:
        others: errors of libraries that only this program loads; loading them takes seconds.
    """
    try:
        yield
    except _TOLD + others as error:
        if os.environ.get("TAGPOSE_TRACEBACK"):
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from None


def sentence(error: BaseException) -> str:
    """What an error says, without the layers that others put around it."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given, as {error.full_key}=VALUE"
    if isinstance(error, ModuleNotFoundError) and (extra := _extra_with(error.name)):
        return f"{error.name} is not installed; pip install 'tagpose[{extra}]' brings it"
    # hydra wraps what a constructor raises, and what importing it does
    if isinstance(error, (InstantiationException, ImportError)) and error.__cause__ is not None:
        return sentence(error.__cause__)
    # a worker's error arrives with its traceback as text; the sentence is its last line
    text = str(error).strip()
    if "Original Traceback" in text:
        return text.splitlines()[-1].partition(": ")[2]
    return text or type(error).__name__


def _extra_with(module: str | None) -> str | None:
    """The extra of this package that brings a module, where one does; dev has them all."""
    for requirement in requires("tagpose") or ():
        if named := re.fullmatch(rf"{module}\b.*extra == ['\"](?!dev)(\w+)['\"]", requirement):
            return named[1]
    return None
