"""This file turns an error of the border into one sentence and an exit code."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import requires
from typing import Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, InstantiationException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

_OVERRIDE: Final = re.compile(r"~|[+]*[\w./@:-]+=")
# `wandb agent` writes null as Python does; in a list or pair, too, but not within a text or a path
_PYTHON_NULL: Final = re.compile(r"""('[^']*'|"[^"]*")|(?:^|(?<=[\[{(,:])) *None *(?=$|[\]}),])""")

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


def parse_command_line(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a program as Hydra accepts them, and let it raise its errors."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints them as paragraphs, and exits
    return move_options_last([quote_override(argument) for argument in arguments])


def move_options_last(words: Sequence[str]) -> list[str]:
    """Words of the command line in an order that Hydra takes: its options behind the overrides.

    Its parser refuses overrides on both sides of an option, as `a=1 --config-dir=DIR +b=2`.
    """
    overrides = [word for word in words if not word.startswith("-") and _OVERRIDE.match(word)]
    return [*overrides, *(word for word in words if word not in overrides)]


def quote_override(word: str) -> str:
    """A word of the command line as Hydra reads it: the names of files in quotes where need be.

    Its grammar knows none of `images=Zürich (2).jpg`, `checkpoint=epoch=3.ckpt`, `root=~/coco`.
    What it cannot read can mean nothing else than what stands there, unless it begins as a list,
    a pair or in quotes; a home is found as a shell would where it stands alone. None is null, as
    `wandb agent` writes the null of a sweep file that way.
    """
    key, is_override, value = word.partition("=")
    if not is_override or not re.fullmatch(r"[+~]*\w[\w./@:-]*", key):
        return word
    value = _PYTHON_NULL.sub(lambda at: at[1] or "null", value)
    word = f"{key}={value}"
    if value[:1] in tuple("[{(\"'"):
        return word
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        home = os.path.expanduser(value)  # noqa: PTH111 -- a Path would tidy what it is given
        # a backslash stands for itself but before a quote (Hydra's grammar, "Quoted values")
        quoted = re.sub(r"(\\*)('|$)", lambda at: 2 * at[1] + at[2].replace("'", "\\'"), home)
        return f"{key}='{quoted}'"
    return word


@contextmanager
def friendly_errors(*others: type[Exception]) -> Iterator[None]:
    """End the program with one sentence instead of a traceback.

    TAGPOSE_TRACEBACK=1 shows the traceback, for those who mend the program.

    Args:
        others: errors of libraries that only this program loads; loading them takes seconds.
    """
    try:
        yield
    except _USER_ERRORS + others as error:
        if os.environ.get("TAGPOSE_TRACEBACK"):
            raise
        print(f"error: {format_error(error)}", file=sys.stderr)
        raise SystemExit(1) from None


def format_error(error: BaseException) -> str:
    """What an error says, without the layers that others put around it."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given, as {error.full_key}=VALUE"
    if isinstance(error, ModuleNotFoundError) and (extra := _find_extra(error.name)):
        how = f"pip install 'FOLDER[{extra}]' brings it, with the folder of tagpose"
        return f"{error.name} is not installed; {how}"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which not every program loads
        return (
            f"{str(error).partition('. ')[0]}: a smaller data.batch_size with more "
            "trainer.accumulate_grad_batches, a smaller input_size, or bf16 in place of float32 need less"
        )
    if isinstance(error, ConfigCompositionException):
        return _format_composition_error(error)
    # hydra wraps what a constructor raises, and what importing it does
    if isinstance(error, (InstantiationException, ImportError)) and error.__cause__ is not None:
        return format_error(error.__cause__)
    # a worker's error arrives with its traceback as text; the sentence is its last line
    text = str(error).strip()
    if "Original Traceback" in text:
        return text.splitlines()[-1].partition(": ")[2]
    return text or type(error).__name__


def _format_composition_error(error: ConfigCompositionException) -> str:
    """What an override asks for that is not there, and what may be meant."""
    cause = error.__cause__
    if not isinstance(cause, OmegaConfBaseException) or cause.parent_node is None:
        # behind the first lines stands where Hydra has looked
        lines = str(error).partition("Config search path")[0].splitlines()
        return ", ".join(filter(None, map(str.strip, lines))).replace(":,", ":")
    known = [str(key) for key in cause.parent_node if key != "_target_"]
    near = get_close_matches(str(cause.key), known, n=1)
    name = cause.full_key or cause.key
    others = f"there are {', '.join(known)}, and +{name}=VALUE adds what only the code knows"
    meant = f"did you mean {near[0]}?" if near else others
    return f"there is no {name} in the configuration; {meant}"


def _find_extra(module: str | None) -> str | None:
    """The extra of this package that brings a module, where one does; dev has them all."""
    project = str(module).replace("_", "[-_]")
    for requirement in requires("tagpose") or ():
        if named := re.fullmatch(rf"{project}\b.*extra == ['\"](?!dev)(\w+)['\"]", requirement):
            return named[1]
    return None
