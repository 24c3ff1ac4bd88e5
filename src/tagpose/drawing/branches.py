"""This file colours parts that no palette is made for, by the names and bones of their keypoints.

What is left is cool and what is right is warm, as in the parts that have palettes. The colours of
a side, or of the whole circle where a part has no sides, are shared out to the branches of a part,
say to fingers; a part that is one branch changes its colour from keypoint to keypoint.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from tagpose.drawing.hues import Arc, Colour, hue
from tagpose.skeleton import Skeleton

MIDDLE: Final[Colour] = (70, 150, 255)  # of what is neither left nor right
_FORK: Final[Colour] = (235, 235, 245)  # where branches of no side meet
_FORKED: Final = 3  # bones that meet in a fork, at least

_CIRCLE: Final = Arc(310, 0)  # violet by green to red
# For few branches those that nobody mistakes, and that leave blue to the middle.
_FEW: Final = {"left": Arc(148, 215), "right": Arc(62, 10)}  # green to cyan; orange to red
_MANY: Final = {"left": Arc(148, 290), "right": Arc(100, -10)}  # green to violet; yellow to pink
_FEWEST: Final = 2  # branches, at most


def side_of(name: str) -> str:
    """The side that a name begins with, or nothing."""
    return next((side for side in ("left", "right") if name.lower().startswith(side)), "")


def own_colours(skeleton: Skeleton, parts: Sequence[str]) -> Mapping[str, tuple[Colour, ...]]:
    """Colours for parts of one's own.

    Args:
        skeleton: that has the parts.
        parts: those without a palette.

    Returns:
        For each part the colour that stands for all of it, then one for each keypoint.
    """
    sides = {part: _sides(skeleton, part) for part in parts}
    colours = {}
    for i, part in enumerate(parts):
        keypoints = range(skeleton.size)[skeleton.limbs[part]]
        own = dict.fromkeys(keypoints, MIDDLE)
        for side in _coloured(sides[part]):
            members = [k for k, other in zip(keypoints, sides[part], strict=True) if other == side]
            share = _share(part, [other for other in parts if side in _coloured(sides[other])])
            own |= _shades(members, skeleton, side, share, beside="" in sides[part])
        alike = [other for other in parts if set(sides[other]) == set(sides[part])]
        only = "".join(set(sides[part]))  # its side, if there is one
        whole = (
            _FEW[only].piece(*_share(part, alike)) if only in _FEW else _CIRCLE.piece(i, len(parts))
        )
        colours[part] = (hue(whole.start), *own.values())
    return colours


def _share(part: str, sharing: Sequence[str]) -> tuple[int, int]:
    """Which one a part is of those that share, and of how many."""
    return sharing.index(part), len(sharing)


def _sides(skeleton: Skeleton, part: str) -> list[str]:
    """The side of each keypoint of a part, which the name of the part may tell as well."""
    return [side_of(name) or side_of(part) for name in skeleton.keypoints[skeleton.limbs[part]]]


def _coloured(sides: Sequence[str]) -> list[str]:
    """The sides of a part whose keypoints differ in colour: not the middle between two sides."""
    return sorted(set(sides) - {""}) or [""]


def _shades(
    members: Sequence[int], skeleton: Skeleton, side: str, share: tuple[int, int], *, beside: bool
) -> dict[int, Colour]:
    """Colours of the keypoints on one side of a part.

    Args:
        members: those keypoints.
        skeleton: that they are of.
        side: they are on.
        share: which one this is, and of how many parts that share the hues of the side.
        beside: whether the part has a middle too.
    """
    branch = _branches(members, skeleton.bones)
    names = sorted(set(branch.values()))
    if not side and len(names) < 2:
        branch, names = {k: k for k in members}, list(members)
    hues = _FEW if beside or len(names) <= _FEWEST else _MANY
    arc = (hues[side] if side else _CIRCLE).piece(*share)
    shades = dict(zip(names, arc.colours(len(names)), strict=True))
    fork = hue(_FEW[side].start) if side else _FORK
    return {k: shades[branch[k]] if k in branch else fork for k in members}


def _branches(members: Sequence[int], bones: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The first keypoint of the branch that each one is on; forks are on none."""
    inside = [bone for bone in bones if set(bone) <= set(members)]
    meeting = Counter(end for bone in inside for end in bone)
    branch = {k: k for k in members if meeting[k] < _FORKED}
    for a, b in inside:
        if a in branch and b in branch:
            first, other = sorted((branch[a], branch[b]))
            branch = {k: first if at == other else at for k, at in branch.items()}
    return branch
