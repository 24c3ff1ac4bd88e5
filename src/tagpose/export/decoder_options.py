"""Conversion of decoder options to and from JSON, for the metadata of exported bundles.

Exported bundles contain this module, so it may only import modules that they contain as well.
"""

from dataclasses import asdict
from typing import Any

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.codec.grouping import GroupingConfig


def decoder_to_dict(decoder: AssociativeEmbeddingDecoder) -> dict[str, Any]:
    """Return all options of a decoder for JSON, with those of its grouping nested."""
    return asdict(decoder)


def decoder_from_dict(options: dict[str, Any]) -> AssociativeEmbeddingDecoder:
    """Build a decoder from its options.

    Args:
        options: options from `decoder_to_dict`, possibly read from JSON, which turns tuples into
            lists.

    Raises:
        TypeError: if an option is unknown.
        ValueError: if the value of an option is invalid.
    """
    values = {name: _to_tuples(value) for name, value in options.items() if name != "grouping"}
    grouping = {name: _to_tuples(value) for name, value in options["grouping"].items()}
    return AssociativeEmbeddingDecoder(GroupingConfig(**grouping), **values)


def _to_tuples(value: Any) -> Any:
    """Convert lists to tuples, recursively."""
    return tuple(map(_to_tuples, value)) if isinstance(value, list | tuple) else value
