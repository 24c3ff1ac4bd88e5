"""This file makes skeletons of one's own, and says what a checkpoint keeps of any."""

from collections.abc import Mapping, Sequence
from typing import Any

from tagpose.flip_pairs import flip_pairs
from tagpose.official_skeletons import SKELETONS
from tagpose.skeleton import Skeleton, assemble


def make_skeleton(
    name: str,
    keypoints: Sequence[str],
    sigmas: Sequence[float] | None = None,
    mirror: Sequence[Sequence[str]] | None = None,
    bones: Sequence[Sequence[str]] = (),
    parts: Mapping[str, int] | None = None,
    grouping_order: Sequence[str] | None = None,
) -> Skeleton:
    """A skeleton of one's own, for data in COCO's format with all keypoints in `keypoints`.

    Args:
        name: of the skeleton, and of the score of all its keypoints.
        keypoints: [K] names, in the order of the data.
        sigmas: [K] spread of human labelling, in units of sqrt(area) (OKS); COCO's lie between
            .025 for eyes and .107 for hips. They are required.
        mirror: pairs of keypoints that swap places in a flipped image; all others stay. By default
            they are derived from names such as left_eye and right_eye, see `flip_pairs`; an empty
            list is no pair at all.
        bones: pairs of keypoints that a drawing joins.
        parts: what is scored on its own, and how many keypoints it has, in their order; by default
            all are one part.
        grouping_order: in which the decoder attaches keypoints to people, those first that are
            seen best; by default as they are.

    Raises:
        ValueError: the skeleton contradicts itself; the sentence says where.
    """
    _check_names(name, keypoints)
    if sigmas is None:
        raise ValueError(
            f"skeleton {name!r} has no sigmas: one number for each of its {len(keypoints)} "
            "keypoints, such as .025 for a point as sharp as an eye, .07 for a joint and .1 for a "
            "hip; they decide about AP only"
        )
    if mirror is None:
        mirror = _derived_pairs(name, keypoints)
    parts = dict(parts or {name: len(keypoints)})
    order = keypoints if grouping_order is None else grouping_order
    fault = _fault(name, keypoints, sigmas, mirror, bones, parts, order)
    if fault or name in SKELETONS:
        raise ValueError(f"skeleton {name!r}: {fault or 'is one of the official ones'}")
    return assemble(
        name,
        parts,
        tuple(keypoints),
        tuple(map(float, sigmas)),
        mirror={a: b for pair in mirror for a, b in (pair, reversed(pair))},
        bones=bones,
        order=order,
        fields={"keypoints": slice(0, len(keypoints))},
    )


def definition(skeleton: Skeleton) -> dict[str, Any]:
    """What `defined` makes a skeleton of again: plain lists, names and numbers, for files."""
    if SKELETONS.get(skeleton.name) == skeleton:
        return {"name": skeleton.name}
    names = skeleton.keypoints
    pairs = ((k, across) for k, across in enumerate(skeleton.mirror) if k < across)
    return {
        "name": skeleton.name,
        "keypoints": list(names),
        "sigmas": list(skeleton.sigmas),
        "mirror": [[names[a], names[b]] for a, b in pairs],
        "bones": [[names[a], names[b]] for a, b in skeleton.bones],
        "parts": {part: at.stop - at.start for part, at in skeleton.limbs.items()},
        "grouping_order": [names[k] for k in skeleton.grouping_order],
    }


def node(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as conf/skeleton has it, for programs whose checkpoint brings it."""
    return {"_target_": f"{__name__}.{defined.__name__}", **definition(skeleton)}


def defined(name: str, **own: Any) -> Skeleton:
    """The skeleton of a `definition`: an official one by its name alone, or one of one's own.

    Raises:
        ValueError: no official one has the name, or `make_skeleton` refuses the rest.
    """
    if own:
        return make_skeleton(name, **own)
    if name not in SKELETONS:
        raise ValueError(f"skeleton {name!r} is unknown; there are {', '.join(SKELETONS)}")
    return SKELETONS[name]


def _check_names(name: object, keypoints: Sequence[object]) -> None:
    """Check that names are text.

    Raises:
        ValueError: YAML has read one as something else.
    """
    for one in (name, *keypoints):
        if not isinstance(one, str):
            raise ValueError(
                f"skeleton {name!r} has the name {one!r}, which is not text: YAML reads names such "
                "as yes, no, on and 1 as other values; put them in quotes"
            )


def _derived_pairs(name: str, keypoints: Sequence[str]) -> Sequence[Sequence[str]]:
    """Flip pairs from the names of keypoints.

    Raises:
        ValueError: a side has no partner.
    """
    try:
        return flip_pairs(keypoints)
    except ValueError as error:
        raise ValueError(f"skeleton {name!r}: {error}, as mirror") from error


def _fault(
    name: str,
    keypoints: Sequence[str],
    sigmas: Sequence[float],
    mirror: Sequence[Sequence[str]],
    bones: Sequence[Sequence[str]],
    parts: Mapping[str, int],
    order: Sequence[str],
) -> str | None:
    """What contradicts what in a definition, if anything does."""
    known, pairs = set(keypoints), (*mirror, *bones)
    swapped = [end for pair in mirror for end in pair]
    strangers = [end for pair in pairs for end in pair if end not in known]
    checks = {
        "has no keypoints": not keypoints,
        "names a keypoint twice": len(known) < len(keypoints),
        f"has {len(keypoints)} keypoints and {len(sigmas)} sigmas": len(sigmas) != len(keypoints),
        "has a sigma that is not above 0": not all(sigma > 0 for sigma in sigmas),
        f"mirror and bones name {strangers[:1]}, which is no keypoint": strangers,
        "mirror and bones are lists of pairs": any(len(pair) != 2 for pair in pairs),
        "a keypoint is in two pairs of mirror": len(set(swapped)) < len(swapped),
        f"parts have {sum(parts.values())} keypoints together, not {len(keypoints)}": (
            sum(parts.values()) != len(keypoints) or min(parts.values()) < 1
        ),
        f"a part has the name {name!r}, which is that of all together": (
            len(parts) > 1 and name in parts
        ),
        "the grouping order does not have each keypoint once": sorted(order) != sorted(keypoints),
    }
    return next((sentence for sentence, found in checks.items() if found), None)
