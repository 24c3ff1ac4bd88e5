"""Command-line arguments in the form and order that Hydra accepts."""

import os
import re
from collections.abc import Sequence
from typing import Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_OVERRIDE: Final = re.compile(r"~|[+]*[\w./@:-]+=")
# `wandb agent` writes null as None, also in lists and pairs; strings and paths are left alone
_PYTHON_NULL: Final = re.compile(r"""('[^']*'|"[^"]*")|(?:^|(?<=[\[{(,:])) *None *(?=$|[\]}),])""")


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
