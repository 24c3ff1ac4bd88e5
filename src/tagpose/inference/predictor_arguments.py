"""Validation of the arguments of `Predictor`."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Final

import torch

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.data.input_size import integer_ratio

_NETWORK_OPTIONS: Final = ("grouping", "subpixel", "tag_index")  # set by the network, not by users


def select_device(name: str | None) -> torch.device:
    """Return the named device; by default a CUDA GPU if available, otherwise the CPU.

    Raises:
        ValueError: if the device is unknown or not available.
    """
    has_cuda = torch.cuda.is_available()
    try:
        device = torch.device(name or ("cuda" if has_cuda else "cpu"))
    except RuntimeError as error:
        raise ValueError(f'unknown device {name!r}; use "cpu" or "cuda"') from error
    if device.type == "cuda" and not has_cuda:
        raise ValueError(f'device {name!r} needs a CUDA GPU, and torch finds none; use "cpu"')
    return device


def check_option_names(options: Iterable[str], other_names: Iterable[str]) -> None:
    """Check that the decoder has all options.

    Args:
        options: names of decoder options.
        other_names: further names to suggest, those of other arguments.

    Raises:
        ValueError: if an option is unknown.
    """
    parameters = signature(build_decoder).parameters.values()
    keyword_options = [
        parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY
    ]
    decoder_fields = [field.name for field in fields(AssociativeEmbeddingDecoder)]
    known = [name for name in decoder_fields if name not in _NETWORK_OPTIONS] + keyword_options
    for name in options:
        if name not in known:
            matches = get_close_matches(name, [*known, *other_names], n=1)
            hint = f"; did you mean {matches[0]}?" if matches else ""
            raise ValueError(f"Predictor has no option {name!r}{hint}")


def check_precision(precision: str) -> None:
    """Check that a precision is known.

    Raises:
        ValueError: if it is not.
    """
    if precision not in ("float32", "bf16"):
        raise ValueError(f'unknown precision {precision!r}; use "float32" or "bf16"')


def check_scales(scales: Sequence[float], *, multi_scale_tags: bool, fuse_by_size: bool) -> None:
    """Check that scales and multi-scale options are compatible.

    Raises:
        ValueError: if they are not.
    """
    if not isinstance(scales, Sequence):
        raise ValueError(f"scales is {scales!r}, but must be a list such as [1] or [2, 1, 0.5]")
    if (
        1 not in scales
        or min(scales) <= 0
        or any(not integer_ratio(s, min(scales)) for s in scales)
    ):
        raise ValueError(
            f"scales is {list(scales)}, but must contain 1 and only multiples of the smallest "
            "scale, such as [2, 1, 0.5]"
        )
    if multi_scale_tags and fuse_by_size:
        raise ValueError(
            "multi_scale_tags and fuse_by_size cannot be combined: one merges the scales, the "
            "other decodes them separately; use one of them"
        )
    if (multi_scale_tags or fuse_by_size) and len(scales) == 1:
        raise ValueError(
            "multi_scale_tags and fuse_by_size need several scales; add some, such as scales=[1,2]"
        )
