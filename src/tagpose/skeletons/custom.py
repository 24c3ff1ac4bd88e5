"""This file makes skeletons of one's own, and says what a checkpoint keeps of any."""

from collections.abc import Mapping, Sequence
from typing import Any

from tagpose.skeletons.coco import SKELETONS
from tagpose.skeletons.flip_pairs import derive_flip_pairs
from tagpose.skeletons.skeleton import Skeleton, assemble_skeleton


def make_custom_skeleton(
    name: str,
    keypoints: Sequence[str],
    sigmas: Sequence[float] | None = None,
    flip_pairs: Sequence[Sequence[str]] | None = None,
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
        flip_pairs: pairs of keypoints that swap places in a flipped image; all others stay. By default
            they are derived from names such as left_eye and right_eye, see `derive_flip_pairs`; an empty
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
    if flip_pairs is None:
        flip_pairs = _derive_pairs(name, keypoints)
    parts = dict(parts or {name: len(keypoints)})
    order = keypoints if grouping_order is None else grouping_order
    fault = _find_fault(name, keypoints, sigmas, flip_pairs, bones, parts, order)
    if fault or name in SKELETONS:
        raise ValueError(f"skeleton {name!r}: {fault or 'is one of the official ones'}")
    return assemble_skeleton(
        name,
        parts,
        tuple(keypoints),
        tuple(map(float, sigmas)),
        flip_partners={a: b for pair in flip_pairs for a, b in (pair, reversed(pair))},
        bones=bones,
        order=order,
        json_keys={"keypoints": slice(0, len(keypoints))},
    )


def skeleton_to_dict(skeleton: Skeleton) -> dict[str, Any]:
    """What `build_skeleton` makes a skeleton of again: plain lists, names and numbers, for files."""
    if SKELETONS.get(skeleton.name) == skeleton:
        return {"name": skeleton.name}
    names = skeleton.keypoints
    pairs = ((k, across) for k, across in enumerate(skeleton.flip_indices) if k < across)
    return {
        "name": skeleton.name,
        "keypoints": list(names),
        "sigmas": list(skeleton.sigmas),
        "flip_pairs": [[names[a], names[b]] for a, b in pairs],
        "bones": [[names[a], names[b]] for a, b in skeleton.bones],
        "parts": {part: at.stop - at.start for part, at in skeleton.disjoint_parts.items()},
        "grouping_order": [names[k] for k in skeleton.grouping_order],
    }


def skeleton_to_config(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as conf/skeleton has it, for programs whose checkpoint brings it."""
    return {"_target_": f"{__name__}.{build_skeleton.__name__}", **skeleton_to_dict(skeleton)}


def build_skeleton(name: str, **own: Any) -> Skeleton:
    """The skeleton of a `skeleton_to_dict`: an official one by its name alone, or one of one's own.

    Raises:
        ValueError: no official one has the name, or `make_custom_skeleton` refuses the rest.
    """
    if own:
        return make_custom_skeleton(name, **own)
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


def _derive_pairs(name: str, keypoints: Sequence[str]) -> Sequence[Sequence[str]]:
    """Flip pairs from the names of keypoints.

    Raises:
        ValueError: a side has no partner.
    """
    try:
        return derive_flip_pairs(keypoints)
    except ValueError as error:
        raise ValueError(f"skeleton {name!r}: {error}, as flip_pairs") from error


def _find_fault(
    name: str,
    keypoints: Sequence[str],
    sigmas: Sequence[float],
    flip_pairs: Sequence[Sequence[str]],
    bones: Sequence[Sequence[str]],
    parts: Mapping[str, int],
    order: Sequence[str],
) -> str | None:
    """What contradicts what in a skeleton_to_dict, if anything does."""
    known, pairs = set(keypoints), (*flip_pairs, *bones)
    swapped = [end for pair in flip_pairs for end in pair]
    strangers = [end for pair in pairs for end in pair if end not in known]
    checks = {
        "has no keypoints": not keypoints,
        "names a keypoint twice": len(known) < len(keypoints),
        f"has {len(keypoints)} keypoints and {len(sigmas)} sigmas": len(sigmas) != len(keypoints),
        "has a sigma that is not above 0": not all(sigma > 0 for sigma in sigmas),
        f"flip_pairs and bones name {strangers[:1]}, which is no keypoint": strangers,
        "flip_pairs and bones are lists of pairs": any(len(pair) != 2 for pair in pairs),
        "a keypoint is in two pairs of flip_pairs": len(set(swapped)) < len(swapped),
        f"parts have {sum(parts.values())} keypoints together, not {len(keypoints)}": (
            sum(parts.values()) != len(keypoints) or min(parts.values()) < 1
        ),
        f"a part has the name {name!r}, which is that of all together": (
            len(parts) > 1 and name in parts
        ),
        "the grouping order does not have each keypoint once": sorted(order) != sorted(keypoints),
    }
    return next((sentence for sentence, found in checks.items() if found), None)
