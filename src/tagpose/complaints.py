"""This file turns an error of the border into one sentence and an exit code."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import requires
from typing import Any, Final

from hydra.errors import ConfigCompositionException, HydraException, InstantiationException
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


def told(main: Callable[[], Any]) -> None:
    """Run a program of Hydra's; what its configuration refuses is told in a sentence, too."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it would tell in paragraphs, and advise to add the key
    with told_in_a_sentence():
        main()


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
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which not every program loads
        return (
            f"{str(error).partition('. ')[0]}: a smaller data.batch_size with more "
            "trainer.accumulate_grad_batches, a smaller side, or bf16 in place of float32 need less"
        )
    if isinstance(error, ConfigCompositionException):
        return _refused(error)
    # hydra wraps what a constructor raises, and what importing it does
    if isinstance(error, (InstantiationException, ImportError)) and error.__cause__ is not None:
        return sentence(error.__cause__)
    # a worker's error arrives with its traceback as text; the sentence is its last line
    text = str(error).strip()
    if "Original Traceback" in text:
        return text.splitlines()[-1].partition(": ")[2]
    return text or type(error).__name__


def _refused(error: ConfigCompositionException) -> str:
    """What an override asks for that is not there, and what may be meant."""
    cause = error.__cause__
    if not isinstance(cause, OmegaConfBaseException) or cause.parent_node is None:
        # behind the first lines stands where Hydra has looked
        lines = str(error).partition("Config search path")[0].splitlines()
        return ", ".join(filter(None, map(str.strip, lines))).replace(":,", ":")
    known = [str(key) for key in cause.parent_node]
    near = get_close_matches(str(cause.key), known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no {cause.full_key or cause.key} in the configuration; {meant}"


def _extra_with(module: str | None) -> str | None:
    """The extra of this package that brings a module, where one does; dev has them all."""
    for requirement in requires("tagpose") or ():
        if named := re.fullmatch(rf"{module}\b.*extra == ['\"](?!dev)(\w+)['\"]", requirement):
            return named[1]
    return None
