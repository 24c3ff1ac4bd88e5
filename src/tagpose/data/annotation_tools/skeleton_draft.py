"""Draft of a skeleton from a category of a COCO file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tagpose.data.annotation_tools.source_categories import choose_category
from tagpose.data.annotation_tools.source_dataset import Row
from tagpose.data.coco_categories import keypoint_names
from tagpose.skeletons.coco import BODY
from tagpose.skeletons.flip_pairs import derive_flip_pairs

DEFAULT_SIGMA: Final = 0.05  # between COCO's eyes (.025) and hips (.107)
_COCO_FOLDER: Final = "annotations"  # folder of annotations in COCO's layout
_COCO_SIGMAS: Final = MappingProxyType(dict(zip(BODY.keypoints, BODY.sigmas, strict=True)))
_WHOLEBODY_KEY: Final = "lefthand_kpts"  # the category of COCO-WholeBody lists body keypoints only
# words that YAML or Hydra do not read as text
_YAML_WORDS: Final = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf")

Pair = tuple[str, str]


class Bones(NamedTuple):
    """Bones of a category."""

    pairs: tuple[Pair, ...]
    first: int  # index of the first keypoint in the file, 0 or 1
    skipped: tuple[str, ...]  # invalid entries of the file


class SkeletonDraft(NamedTuple):
    """A skeleton to be checked by the user before training."""

    name: str
    keypoints: tuple[str, ...]  # [K]
    sigmas: tuple[float, ...]  # [K] COCO's for COCO's keypoint names, DEFAULT_SIGMA for others
    flips: tuple[Pair, ...]
    bones: Bones


def official_skeleton(names: Sequence[str], annotations: Sequence[Row]) -> str | None:
    """Return the name of the official skeleton of a file, None for custom keypoints."""
    if tuple(names) != BODY.keypoints:
        return None
    return "wholebody" if any(_WHOLEBODY_KEY in row for row in annotations) else BODY.name


def dataset_name(file: Path) -> str:
    """Return a name for the dataset of an annotation file, that of its folder."""
    folder = file.resolve().parent
    return to_identifier(folder.parent.name if folder.name == _COCO_FOLDER else folder.name)


def draft_skeleton(
    category: Row, name: str | None, flips: Sequence[Sequence[str]] | None, file: Path
) -> SkeletonDraft:
    """Draft the skeleton of a category.

    Args:
        category: category with keypoint names.
        name: name of the skeleton; None derives it from the category's name.
        flips: flip pairs of keypoints; None takes them from `flip_idx` of a YOLO source, or derives
            them from the names.
        file: COCO file, for messages.

    Raises:
        ValueError: a name is empty, repeated or not writable, or a flip partner is missing.
    """
    names = keypoint_names(category)
    repeated = sorted({keypoint for keypoint in names if names.count(keypoint) > 1})
    if repeated or not all(names):
        raise ValueError(
            f"{file}: the keypoint names of category {category.get('name')!r} are not unique "
            f"({', '.join(repeated) or 'an empty name'}); rename them, or specify all {len(names)} "
            "names with keypoints=[NAME,...] of tagpose data split"
        )
    if any("${" in keypoint for keypoint in names):
        raise ValueError(
            f"{file}: a keypoint name contains ${{, which Hydra would interpolate; rename it"
        )
    return SkeletonDraft(
        name=name or to_identifier(str(category.get("name"))),
        keypoints=names,
        sigmas=tuple(
            _COCO_SIGMAS.get(_to_snake_case(keypoint), DEFAULT_SIGMA) for keypoint in names
        ),
        flips=_find_flip_pairs(category, names, flips, file),
        bones=read_bones(category.get("skeleton"), names),
    )


def custom_skeleton_arguments(draft: SkeletonDraft) -> Mapping[str, Any]:
    """Return the arguments of `make_custom_skeleton` for a draft."""
    return {
        "name": draft.name,
        "keypoints": draft.keypoints,
        "sigmas": draft.sigmas,
        "flip_pairs": draft.flips,
        "bones": draft.bones.pairs,
    }


def read_bones(entries: Any, names: Sequence[str]) -> Bones:
    """Parse the `skeleton` of a category, whose indices start at 1 (COCO) or at 0.

    The start that makes more entries valid is chosen, and COCO's if both are equally good.

    Args:
        entries: pairs of keypoint indices; other entries are skipped.
        names: [K] keypoint names.
    """
    entries = entries if isinstance(entries, list) else []
    bones = {first: [_parse_bone(entry, first, names) for entry in entries] for first in (1, 0)}
    first = max(bones, key=lambda first: sum(bone is not None for bone in bones[first]))
    skipped = [str(e) for e, bone in zip(entries, bones[first], strict=True) if bone is None]
    unique = {frozenset(bone): bone for bone in reversed(bones[first]) if bone}
    return Bones(tuple(reversed(unique.values())), first, tuple(skipped))


def to_identifier(name: str) -> str:
    """Convert a name to lowercase Latin letters, digits and `_`, safe in files and options."""
    identifier = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    is_safe = re.match(r"[a-z]", identifier) and identifier not in _YAML_WORDS
    return identifier if is_safe else f"my_{identifier}"


def describe_draft(draft: SkeletonDraft) -> list[str]:
    """Return lines that list the keypoints, flip pairs and bones of a draft."""
    flips = ", ".join(f"{a}/{b}" for a, b in draft.flips) or "none"
    bones = draft.bones
    lines = [
        f"keypoints: {len(draft.keypoints)}: {', '.join(draft.keypoints)}",
        f"flip pairs: {flips}",
        f"bones: {len(bones.pairs)}, counted from {bones.first}" if bones.pairs else "bones: none",
    ]
    if bones.skipped:
        lines.append(
            f"skipped bones, which do not connect two keypoints: {', '.join(bones.skipped)}"
        )
    return lines


def select_category(content: Row, name: object, file: Path) -> Row:
    """Return the row of the category to draft, which must list its keypoints."""
    name = None if name is None else str(name)
    category = choose_category(content["categories"], content["annotations"], name, file)
    if category is None:
        raise ValueError(
            f"{file}: no category lists the names of its keypoints; add them with "
            "`tagpose data split source=PATH keypoints=[NAME,...]`"
        )
    return category


def _parse_bone(entry: Any, first: int, names: Sequence[str]) -> Pair | None:
    """Return the names of the two different keypoints of an entry; None if it is invalid."""
    if not isinstance(entry, list) or len(entry) != 2:
        return None
    if not all(type(index) is int and first <= index < first + len(names) for index in entry):
        return None
    a, b = (names[index - first] for index in entry)
    return (a, b) if a != b else None


def _find_flip_pairs(
    category: Row, names: Sequence[str], pairs: Sequence[Sequence[str]] | None, file: Path
) -> tuple[Pair, ...]:
    """Return the specified flip pairs, those of YOLO's `flip_idx`, or those of the names."""
    if pairs is not None:
        _check_flip_pairs(pairs, names)
        return tuple((str(a), str(b)) for a, b in pairs)
    flip_idx = category.get("flip_idx")
    if isinstance(flip_idx, list) and sorted(map(str, flip_idx)) == sorted(
        map(str, range(len(names)))
    ):
        return tuple((names[k], names[other]) for k, other in enumerate(flip_idx) if k < int(other))
    try:
        return derive_flip_pairs(names)
    except ValueError as error:
        raise ValueError(f"{file}: {error} by flip_pairs=[[LEFT,RIGHT],...]") from error


def _check_flip_pairs(pairs: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Raise a ValueError unless all flip pairs are pairs of keypoints."""
    for pair in pairs:
        if (
            isinstance(pair, str)
            or len(pair) != 2
            or not {str(name) for name in pair} <= set(names)
        ):
            raise ValueError(
                f"flip_pairs contains {pair}, expected two of the keypoints {', '.join(names)}; "
                "write flip_pairs=[[LEFT,RIGHT],...]"
            )


def _to_snake_case(name: str) -> str:
    """Convert a name to COCO's spelling: `Left Eye` becomes left_eye."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).lower()
