"""Left/right pairs of keypoints, derived from their names."""

import re
from collections.abc import Sequence
from typing import Final

_SIDES: Final = {"left": "right", "right": "left"}
_INITIALS: Final = {"l": "left", "r": "right"}
# a run of capitals ("L" and "Eye" in "LEye"), a word, or a number
_WORD: Final = re.compile(r"[A-Z]+(?![^\WA-Z\d_])|[A-Z]?[^\WA-Z\d_]+|\d+")
# prefixes and suffixes that are a side only if the name of the other side exists as well
_GLUED: Final = (r"(l|r)(.+)", r"(.+?)(left|right)", r"(.+)(l|r)")
_GLUED_PARTNERS: Final = {"left": "right", "l": "r"}

_Words = tuple[str, ...]


def derive_flip_pairs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the left/right pairs of keypoints, which are swapped in flipped images.

    A name has a side if one of its words is or begins with "left" or "right", or if its first or
    last word is "l" or "r": `left_eye`, `Left Eye`, `eyeLeft`, `lefteye`, `L_eye`, `REye`, `eye.r`.
    If the name alone does not determine a side, as in `lwrist` or `paw_l_front`, keypoints form a
    pair if both names exist.

    Args:
        names: [K] names of keypoints.

    Returns:
        Pairs (left, right).

    Raises:
        ValueError: if a name has a side but no partner, or if two such names differ only in
            spelling.
    """
    words = {name: _split_words(name) for name in names}
    sided = {name: w for name, w in words.items() if not _SIDES.keys().isdisjoint(w)}
    by_words = _index_by_words(sided)
    partners = {name: by_words.get(_swap_sides(w)) for name, w in sided.items()}
    single = [n for n, partner in partners.items() if not partner and _has_explicit_side(n)]
    if single:
        raise ValueError(
            f"no left/right partner of {', '.join(map(repr, single))} among the keypoints; rename "
            "them, or give the flip pairs explicitly ([] for none)"
        )
    pairs = [(a, b) for a, b in partners.items() if b and _first_side(sided[a]) == "left"]
    return (*pairs, *_glued_pairs([name for name in names if not partners.get(name)]))


def _split_words(name: str) -> _Words:
    """Return the words of a name in lower case, with left and right spelled out."""
    words = [part for word in _WORD.findall(name) for part in _split_side_prefix(word.lower())]
    return tuple(_INITIALS.get(word, word) for word in words)


def _split_side_prefix(word: str) -> _Words:
    """Split a word that begins with a side into two words."""
    side = next((side for side in _SIDES if word.startswith(side) and word != side), "")
    return (side, word.removeprefix(side)) if side else (word,)


def _index_by_words(sided: dict[str, _Words]) -> dict[_Words, str]:
    """Return names by their words; raise a ValueError if two names have the same words."""
    by_words: dict[_Words, str] = {}
    for name, words in sided.items():
        other = by_words.setdefault(words, name)
        if other != name:
            raise ValueError(
                f"keypoints {other!r} and {name!r} differ only in spelling, so their left/right "
                "partners are ambiguous; rename one, or give the flip pairs explicitly"
            )
    return by_words


def _has_explicit_side(name: str) -> bool:
    """Return whether the side is spelled out, or the first or last word of the name."""
    words = [word.lower() for word in _WORD.findall(name)]
    ends = {words[0], words[-1]}
    return not ends.isdisjoint(_INITIALS) or any(word.startswith(tuple(_SIDES)) for word in words)


def _first_side(words: _Words) -> str:
    """Return the first side among the words of a name."""
    return next(word for word in words if word in _SIDES)


def _swap_sides(words: _Words) -> _Words:
    """Return the words of the partner; of `left_eye_right_corner`, `right_eye_left_corner`."""
    return tuple(_SIDES.get(word, word) for word in words)


def _glued_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of names whose side is not a separate word, such as `lwrist` and `rwrist`."""
    by_lower = {name.lower(): name for name in names}
    pairs: dict[str, str] = {}
    for pattern in _GLUED:
        for lower, name in by_lower.items():
            partner = by_lower.get(_glued_partner(lower, pattern), name)
            if partner != name and {name, partner}.isdisjoint([*pairs, *pairs.values()]):
                pairs[name] = partner
    return list(pairs.items())


def _glued_partner(name: str, pattern: str) -> str:
    """Return the right partner of a left name that matches a pattern, or else the name itself."""
    match = re.fullmatch(pattern, name)
    pieces = match.groups() if match else (name,)
    return "".join(_GLUED_PARTNERS.get(piece, piece) for piece in pieces)
