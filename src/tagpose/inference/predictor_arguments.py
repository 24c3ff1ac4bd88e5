"""This file sees that what a Predictor is asked for is there."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Final

import torch

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.geometry import integer_ratio

_NETWORK_OPTIONS: Final = ("grouping", "subpixel", "tag_index")  # and of the network


def select_device(name: str | None) -> torch.device:
    """The device of that name; by default a CUDA GPU where there is one.

    Raises:
        ValueError: there is none here.
    """
    has_cuda = torch.cuda.is_available()
    try:
        device = torch.device(name or ("cuda" if has_cuda else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is none; cpu or cuda would do") from error
    if device.type == "cuda" and not has_cuda:
        raise ValueError(f"device {name!r}: torch sees no CUDA GPU here; device=cpu does without")
    return device


def check_option_names(options: Iterable[str], other_names: Iterable[str]) -> None:
    """See that thresholds are those of the decoder.

    Args:
        options: as they were named.
        other_names: what else may have been meant.

    Raises:
        ValueError: the decoder has none of a name.
    """
    parameters = signature(build_decoder).parameters.values()
    keyword_options = [
        parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY
    ]
    decoder_fields = [field.name for field in fields(AssociativeEmbeddingDecoder)]
    known = [name for name in decoder_fields if name not in _NETWORK_OPTIONS] + keyword_options
    for name in options:
        if name not in known:
            near = get_close_matches(name, [*known, *other_names], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"there is no {name!r} of a Predictor{meant}")


def check_scales(scales: Sequence[float], *, multi_scale_tags: bool, fuse_by_size: bool) -> None:
    """See that scales fit together, and options of theirs too.

    Raises:
        ValueError: they do not.
    """
    if not isinstance(scales, Sequence):
        raise ValueError(f"scales are {scales!r}, no list such as [1] or [2, 1, 0.5]")
    if 1 not in scales or min(scales) <= 0 or any(not integer_ratio(s, min(scales)) for s in scales):
        raise ValueError(
            f"scales are {list(scales)}; 1 must be among them, and all be multiples of the "
            "smallest, such as [2, 1, 0.5]"
        )
    if multi_scale_tags and fuse_by_size:
        raise ValueError(
            "multi_scale_tags merges scales and fuse_by_size decodes them apart; take one"
        )
    if (multi_scale_tags or fuse_by_size) and len(scales) == 1:
        raise ValueError(
            "multi_scale_tags and fuse_by_size are of several scales, such as scales=[1,2]"
        )
