"""This file sees that what a Predictor is asked for is there."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Final

import torch

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.geometry import multiple

_OF_SKELETON: Final = ("grouping", "subpixel", "tag_index")  # and of the network


def chosen_device(named: str | None) -> torch.device:
    """The device of that name; by default a CUDA GPU where there is one.

    Raises:
        ValueError: there is none here.
    """
    there = torch.cuda.is_available()
    try:
        device = torch.device(named or ("cuda" if there else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"device {named!r} is none; cpu or cuda would do") from error
    if device.type == "cuda" and not there:
        raise ValueError(f"device {named!r}: torch sees no CUDA GPU here; device=cpu does without")
    return device


def check_names(thresholds: Iterable[str], others: Iterable[str]) -> None:
    """See that thresholds are those of the decoder.

    Args:
        thresholds: as they were named.
        others: what else may have been meant.

    Raises:
        ValueError: the decoder has none of a name.
    """
    made = signature(build_decoder).parameters.values()
    told = [one.name for one in made if one.kind is Parameter.KEYWORD_ONLY]
    options = [field.name for field in fields(AssociativeEmbeddingDecoder)]
    known = [name for name in options if name not in _OF_SKELETON] + told
    for name in thresholds:
        if name not in known:
            near = get_close_matches(name, [*known, *others], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"there is no {name!r} of a Predictor{meant}")


def check_scales(scales: Sequence[float], *, every_tag: bool, by_size: bool) -> None:
    """See that scales fit together, and options of theirs too.

    Raises:
        ValueError: they do not.
    """
    if not isinstance(scales, Sequence):
        raise ValueError(f"scales are {scales!r}, no list such as [1] or [2, 1, 0.5]")
    if 1 not in scales or min(scales) <= 0 or any(not multiple(s, min(scales)) for s in scales):
        raise ValueError(
            f"scales are {list(scales)}; 1 must be among them, and all be multiples of the "
            "smallest, such as [2, 1, 0.5]"
        )
    if every_tag and by_size:
        raise ValueError("every_tag merges scales and by_size decodes them apart; take one")
    if (every_tag or by_size) and len(scales) == 1:
        raise ValueError("every_tag and by_size are of several scales, such as scales=[1,2]")
