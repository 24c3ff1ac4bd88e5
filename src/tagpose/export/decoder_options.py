"""Decoder options as JSON, in the metadata of an exported bundle, and the decoder built from them.

Exported bundles contain this file, so it imports only what they contain, too.
"""

from dataclasses import asdict
from typing import Any

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.codec.grouping import GroupingConfig


def decoder_to_dict(decoder: AssociativeEmbeddingDecoder) -> dict[str, Any]:
    """Return all options of a decoder by name, those of its grouping nested, for JSON."""
    return asdict(decoder)


def decoder_from_dict(options: dict[str, Any]) -> AssociativeEmbeddingDecoder:
    """Build a decoder from its options.

    Args:
        options: from `decoder_to_dict`; they may have been through JSON, which turns tuples into
            lists.

    Raises:
        TypeError: if there is no such option.
        ValueError: if an option has a value that the decoder does not accept.
    """
    values = {name: _to_tuples(value) for name, value in options.items() if name != "grouping"}
    rule = {name: _to_tuples(value) for name, value in options["grouping"].items()}
    return AssociativeEmbeddingDecoder(GroupingConfig(**rule), **values)


def _to_tuples(value: Any) -> Any:
    """Turn lists, also nested ones, into tuples."""
    return tuple(map(_to_tuples, value)) if isinstance(value, list | tuple) else value
