"""Errors of users in one sentence, and command-line arguments as Hydra accepts them."""

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
# `wandb agent` writes null as None, also in lists and pairs; strings and paths are left alone
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
    Such a value is a plain string, unless it starts as a list, a dictionary or in quotes. A leading
    `~` is expanded as in a shell. None becomes null, because `wandb agent` writes the null of a
    sweep file that way.
    """
    key, is_override, value = word.partition("=")
    if not is_override or not re.fullmatch(r"[+~]*\w[\w./@:-]*", key):
        return word
    value = _PYTHON_NULL.sub(lambda match: match[1] or "null", value)
    word = f"{key}={value}"
    if value[:1] in tuple("[{(\"'"):
        return word
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        expanded = os.path.expanduser(value)  # noqa: PTH111 -- a Path would normalize the value
        # backslashes are escaped only before a quote (Hydra's grammar, "Quoted values")
        quoted = re.sub(
            r"(\\*)('|$)", lambda match: 2 * match[1] + match[2].replace("'", "\\'"), expanded
        )
        return f"{key}='{quoted}'"
    return word


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
        return (
            f"{error.name} is not installed; install it with pip install 'FOLDER[{extra}]', where "
            "FOLDER is the checkout of tagpose"
        )
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
    return (
        f"unknown key {name} in the configuration; use one of {', '.join(known)}, or "
        f"+{name}=VALUE for an argument that conf/ does not list"
    )


def _find_extra(module: str | None) -> str | None:
    """Return the extra of this package that installs a module, other than dev, which has all."""
    project = str(module).replace("_", "[-_]")
    for requirement in requires("tagpose") or ():
        if match := re.fullmatch(rf"{project}\b.*extra == ['\"](?!dev)(\w+)['\"]", requirement):
            return match[1]
    return None
