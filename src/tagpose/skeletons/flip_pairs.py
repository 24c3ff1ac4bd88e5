"""Left/right pairs of keypoints, derived from their names."""

import re
from collections.abc import Sequence
from typing import Final

_SIDES: Final = {"left": "right", "right": "left"}
_INITIALS: Final = {"l": "left", "r": "right"}
# a run of capitals ("L" and "Eye" in "LEye"), a word, or a number
_WORD: Final = re.compile(r"[A-Z]+(?![^\WA-Z\d_])|[A-Z]?[^\WA-Z\d_]+|\d+")
# beginnings and ends that are a side only if the other name exists as well
_GLUED: Final = (r"(l|r)(.+)", r"(.+?)(left|right)", r"(.+)(l|r)")
_GLUED_PARTNERS: Final = {"left": "right", "l": "r"}

_Words = tuple[str, ...]


def derive_flip_pairs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of keypoints that change places in a horizontally flipped image.

    A name has a side if one of its words is or begins with "left" or "right", or if its first or
    last word is "l" or "r": `left_eye`, `Left Eye`, `eyeLeft`, `lefteye`, `L_eye`, `REye`, `eye.r`.
    Where a side cannot be told from the name alone, as in `lwrist` or `paw_l_front`, there is a
    pair if both names exist.

    Args:
        names: [K] names of keypoints.

    Returns:
        Pairs (left, right); keypoints in no pair keep their place.

    Raises:
        ValueError: if a name has a side and no partner, or if two such names differ in spelling
            only.
    """
    words = {name: _split_words(name) for name in names}
    sided = {name: its for name, its in words.items() if not _SIDES.keys().isdisjoint(its)}
    by_words = _index_by_words(sided)
    partners = {name: by_words.get(_swap_sides(its)) for name, its in sided.items()}
    alone = [name for name, partner in partners.items() if not partner and _has_explicit_side(name)]
    if alone:
        raise ValueError(
            f"no keypoint is the left/right partner of {', '.join(map(repr, alone))}; rename, or "
            "give the flip pairs explicitly ([] for none)"
        )
    pairs = [(a, b) for a, b in partners.items() if b and _first_side(sided[a]) == "left"]
    return (*pairs, *_glued_pairs([name for name in names if not partners.get(name)]))


def _split_words(name: str) -> _Words:
    """The words of a name in lower case, with its sides spelled out."""
    words = [part for word in _WORD.findall(name) for part in _split_side_prefix(word.lower())]
    return tuple(_INITIALS.get(word, word) for word in words)


def _split_side_prefix(word: str) -> _Words:
    """A word that begins with a side, as two words."""
    side = next((side for side in _SIDES if word.startswith(side) and word != side), "")
    return (side, word.removeprefix(side)) if side else (word,)


def _index_by_words(sided: dict[str, _Words]) -> dict[_Words, str]:
    """Names by their words, which must differ."""
    by_words: dict[_Words, str] = {}
    for name, words in sided.items():
        other = by_words.setdefault(words, name)
        if other != name:
            raise ValueError(
                f"keypoints {other!r} and {name!r} differ in spelling only, so their left/right "
                "partners are ambiguous; rename one, or give the flip pairs explicitly"
            )
    return by_words


def _has_explicit_side(name: str) -> bool:
    """Whether a name with a side has it spelled out, or as its first or last word."""
    words = [word.lower() for word in _WORD.findall(name)]
    ends = {words[0], words[-1]}
    return not ends.isdisjoint(_INITIALS) or any(word.startswith(tuple(_SIDES)) for word in words)


def _first_side(words: _Words) -> str:
    return next(word for word in words if word in _SIDES)


def _swap_sides(words: _Words) -> _Words:
    """The words of the partner: `left_eye_right_corner` is flipped to `right_eye_left_corner`."""
    return tuple(_SIDES.get(word, word) for word in words)


def _glued_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs among names whose side is no word of its own, such as `lwrist` and `rwrist`."""
    by_lower = {name.lower(): name for name in names}
    pairs: dict[str, str] = {}
    for pattern in _GLUED:
        for lower, name in by_lower.items():
            partner = by_lower.get(_glued_partner(lower, pattern), name)
            if partner != name and {name, partner}.isdisjoint([*pairs, *pairs.values()]):
                pairs[name] = partner
    return list(pairs.items())


def _glued_partner(name: str, pattern: str) -> str:
    """The right partner of a left name that a pattern divides; any other name itself."""
    match = re.fullmatch(pattern, name)
    pieces = match.groups() if match else (name,)
    return "".join(_GLUED_PARTNERS.get(piece, piece) for piece in pieces)
