"""Custom skeletons, and the serialization of skeletons for checkpoints and configurations."""

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
    """Make a custom skeleton, for data in COCO format with all keypoints under `keypoints`.

    Args:
        name: name of the skeleton, and of the AP over all its keypoints.
        keypoints: [K] names, in the order of the data.
        sigmas: [K] standard deviation of human labels in units of sqrt(area), for OKS. They are
            required; those of COCO range from .025 for eyes to .107 for hips.
        flip_pairs: left/right pairs of keypoints, which are swapped in flipped images. By default
            they are derived from names such as left_eye and right_eye, see `derive_flip_pairs`; an
            empty list means that there are none.
        bones: pairs of keypoints that are connected in drawings.
        parts: parts with their own AP, and their numbers of keypoints in the order of the
            keypoints; by default a single part.
        grouping_order: order in which keypoints are attached to people, which should start with
            those that are most visible; by default the order of `keypoints`.

    Raises:
        ValueError: if the definition is incomplete or inconsistent.
    """
    _check_names(name, keypoints)
    if sigmas is None:
        raise ValueError(
            f"skeleton {name!r} has no sigmas: give one number for each of its {len(keypoints)} "
            "keypoints, such as .025 for an eye, .07 for a joint and .1 for a hip; sigmas only "
            "affect AP"
        )
    if flip_pairs is None:
        flip_pairs = _derive_pairs(name, keypoints)
    parts = dict(parts or {name: len(keypoints)})
    order = keypoints if grouping_order is None else grouping_order
    fault = _find_fault(name, keypoints, sigmas, flip_pairs, bones, parts, order)
    if fault or name in SKELETONS:
        raise ValueError(
            f"skeleton {name!r}: {fault or 'the name of an official skeleton is reserved'}"
        )
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
    """Convert a skeleton to plain lists, names and numbers; `build_skeleton` is the inverse."""
    if SKELETONS.get(skeleton.name) == skeleton:
        return {"name": skeleton.name}
    names = skeleton.keypoints
    pairs = ((k, partner) for k, partner in enumerate(skeleton.flip_indices) if k < partner)
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
    """Convert a skeleton to a config node like those in conf/skeleton."""
    return {"_target_": f"{__name__}.{build_skeleton.__name__}", **skeleton_to_dict(skeleton)}


def build_skeleton(name: str, **definition: Any) -> Skeleton:
    """Build a skeleton from the output of `skeleton_to_dict`.

    Args:
        name: name of an official or custom skeleton.
        definition: further arguments of `make_custom_skeleton`; none for an official skeleton.

    Raises:
        ValueError: if the name is unknown or the definition is invalid.
    """
    if definition:
        return make_custom_skeleton(name, **definition)
    if name not in SKELETONS:
        raise ValueError(f"unknown skeleton {name!r}; use one of {', '.join(SKELETONS)}")
    return SKELETONS[name]


def _check_names(name: object, keypoints: Sequence[object]) -> None:
    """Raise a ValueError unless all names are strings."""
    for text in (name, *keypoints):
        if not isinstance(text, str):
            raise ValueError(
                f"skeleton {name!r} contains the name {text!r}, which is not a string: YAML reads "
                "names such as yes, no, on and 1 as other values; put them in quotes"
            )


def _derive_pairs(name: str, keypoints: Sequence[str]) -> Sequence[Sequence[str]]:
    """Derive flip pairs from the names of keypoints; see `derive_flip_pairs`."""
    try:
        return derive_flip_pairs(keypoints)
    except ValueError as error:
        raise ValueError(f"skeleton {name!r}: {error} as flip_pairs") from error


def _find_fault(
    name: str,
    keypoints: Sequence[str],
    sigmas: Sequence[float],
    flip_pairs: Sequence[Sequence[str]],
    bones: Sequence[Sequence[str]],
    parts: Mapping[str, int],
    order: Sequence[str],
) -> str | None:
    """Return what is inconsistent in the definition of a skeleton, or None."""
    known, pairs = set(keypoints), (*flip_pairs, *bones)
    paired = [end for pair in flip_pairs for end in pair]
    unknown = [end for pair in pairs for end in pair if end not in known]
    checks = {
        "there are no keypoints": not keypoints,
        "a keypoint name is repeated": len(known) < len(keypoints),
        f"there are {len(keypoints)} keypoints but {len(sigmas)} sigmas": len(sigmas)
        != len(keypoints),
        "a sigma is not above 0": not all(sigma > 0 for sigma in sigmas),
        f"flip_pairs or bones contain {unknown[:1]}, which is not a keypoint": unknown,
        "flip_pairs and bones must be lists of pairs": any(len(pair) != 2 for pair in pairs),
        "a keypoint is in two pairs of flip_pairs": len(set(paired)) < len(paired),
        f"parts have {sum(parts.values())} keypoints in total instead of {len(keypoints)}": (
            sum(parts.values()) != len(keypoints) or min(parts.values()) < 1
        ),
        f"a part has the name {name!r} of the whole skeleton": (len(parts) > 1 and name in parts),
        "grouping_order does not contain each keypoint once": sorted(order) != sorted(keypoints),
    }
    return next((fault for fault, is_present in checks.items() if is_present), None)
