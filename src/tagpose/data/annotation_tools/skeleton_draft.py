"""Draft a skeleton from a category of a COCO file."""

import re
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tagpose.data.annotation_tools.source_dataset import Row, keypoint_names
from tagpose.skeletons.coco import BODY
from tagpose.skeletons.flip_pairs import derive_flip_pairs

DEFAULT_SIGMA: Final = 0.05  # between COCO's eyes (.025) and hips (.107)
_COCO_SIGMAS: Final = MappingProxyType(dict(zip(BODY.keypoints, BODY.sigmas, strict=True)))
_WHOLEBODY_FIELD: Final = "lefthand_kpts"  # of COCO-WholeBody, whose category lists the body alone

Pair = tuple[str, str]


class Bones(NamedTuple):
    """The bones of a category."""

    pairs: tuple[Pair, ...]
    first: int  # number of the first keypoint in the file, 0 or 1
    skipped: tuple[str, ...]  # entries that are no bone, as they are in the file


class SkeletonDraft(NamedTuple):
    """A skeleton that its owner should look at before training."""

    name: str
    keypoints: tuple[str, ...]  # [K]
    sigmas: tuple[float, ...]  # [K] COCO's where the names are COCO's, else DEFAULT_SIGMA
    flips: tuple[Pair, ...]
    bones: Bones


def official_skeleton(names: Sequence[str], annotations: Sequence[Row]) -> str | None:
    """Return the name of the official skeleton that a file is annotated with, if it is."""
    if tuple(names) != BODY.keypoints:
        return None
    return "wholebody" if any(_WHOLEBODY_FIELD in row for row in annotations) else BODY.name


def draft_skeleton(
    category: Row, name: str | None, flips: Sequence[Sequence[str]] | None, file: Path
) -> SkeletonDraft:
    """Draft the skeleton of a category.

    Args:
        category: with names of keypoints.
        name: of the skeleton; None makes one of the category's name.
        flips: pairs of keypoints; None derives them from `flip_idx`, where a YOLO source had it, or
            from the names.
        file: for messages.

    Raises:
        ValueError: if a name is empty, repeated or not writable, or if a side has no partner.
    """
    names = keypoint_names(category)
    repeated = sorted({one for one in names if names.count(one) > 1})
    if repeated or not all(names):
        raise ValueError(
            f"{file}: the keypoints of category {category.get('name')!r} are not named uniquely "
            f"({', '.join(repeated) or 'an empty name'}); rename them, or give all {len(names)} "
            "names by keypoints=[NAME,...] of make split"
        )
    if any("${" in one for one in names):  # Hydra would look for a value of that name
        raise ValueError(f"{file}: a keypoint has ${{ in its name; rename it")
    return SkeletonDraft(
        name=name or to_identifier(str(category.get("name"))),
        keypoints=tuple(names),
        sigmas=tuple(_COCO_SIGMAS.get(_to_snake_case(one), DEFAULT_SIGMA) for one in names),
        flips=_find_flip_pairs(category, names, flips, file),
        bones=read_bones(category.get("skeleton"), names),
    )


def read_bones(entries: Any, names: Sequence[str]) -> Bones:
    """Return the bones of a category's `skeleton`, counted from 1 (COCO) or from 0.

    The count that more entries fit is taken, and COCO's if both fit equally.

    Args:
        entries: pairs of numbers of keypoints; anything else among them is left out.
        names: [K] keypoints.
    """
    given = entries if isinstance(entries, list) else []
    found = {first: [_parse_bone(entry, first, names) for entry in given] for first in (1, 0)}
    first = max(found, key=lambda one: sum(bone is not None for bone in found[one]))
    left_out = [str(e) for e, bone in zip(given, found[first], strict=True) if bone is None]
    unique = {frozenset(bone): bone for bone in reversed(found[first]) if bone}
    return Bones(tuple(reversed(unique.values())), first, tuple(left_out))


def to_identifier(name: str) -> str:
    """Return a name as a file and an option can have it: small Latin letters, digits, `_`."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if re.match(r"[a-z]", plain) and plain not in _YAML_WORDS else f"my_{plain}"


# words that YAML and Hydra do not read as text
_YAML_WORDS: Final = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf")


def _parse_bone(entry: Any, first: int, names: Sequence[str]) -> Pair | None:
    """The names of two different keypoints, if an entry has their numbers."""
    if not isinstance(entry, list) or len(entry) != 2:
        return None
    if not all(type(end) is int and first <= end < first + len(names) for end in entry):
        return None
    a, b = (names[end - first] for end in entry)
    return (a, b) if a != b else None


def _find_flip_pairs(
    category: Row, names: Sequence[str], given: Sequence[Sequence[str]] | None, file: Path
) -> tuple[Pair, ...]:
    """Flip pairs: those given, those of YOLO's `flip_idx`, or those that the names tell."""
    if given is not None:
        return tuple((str(a), str(b)) for a, b in _check_flip_pairs(given, names))
    indices = category.get("flip_idx")
    if isinstance(indices, list) and sorted(map(str, indices)) == sorted(
        map(str, range(len(names)))
    ):
        return tuple((names[k], names[to]) for k, to in zip(count(), indices) if k < int(to))
    try:
        return derive_flip_pairs(names)
    except ValueError as error:
        raise ValueError(f"{file}: {error} by flip_pairs=[[LEFT,RIGHT],...]") from error


def _check_flip_pairs(
    given: Sequence[Sequence[str]], names: Sequence[str]
) -> Sequence[Sequence[str]]:
    """Given flip pairs, once it is sure that they are pairs of keypoints."""
    for pair in given:
        if isinstance(pair, str) or len(pair) != 2 or not {str(end) for end in pair} <= set(names):
            raise ValueError(
                f"flip_pairs has {pair}, not two of the keypoints {', '.join(names)}; write "
                "flip_pairs=[[LEFT,RIGHT],...]"
            )
    return given


def _to_snake_case(name: str) -> str:
    """A name as COCO would write it: `Left Eye` is left_eye."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).lower()


def custom_skeleton_arguments(draft: SkeletonDraft) -> Mapping[str, Any]:
    """Return the arguments of `make_skeleton` for a draft."""
    return {
        "name": draft.name,
        "keypoints": draft.keypoints,
        "sigmas": draft.sigmas,
        "flip_pairs": draft.flips,
        "bones": draft.bones.pairs,
    }
