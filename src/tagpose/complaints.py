"""This file turns an error of the border into one sentence and an exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

_TOLD: Final[tuple[type[Exception], ...]] = (
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
    # hydra wraps what a constructor raises
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return sentence(error.__cause__)
    # a worker's error arrives with its traceback as text; the sentence is its last line
    text = str(error).strip()
    if "Original Traceback" in text:
        return text.splitlines()[-1].partition(": ")[2]
    return text or type(error).__name__
