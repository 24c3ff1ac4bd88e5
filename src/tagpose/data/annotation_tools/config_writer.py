"""Write the YAML files that training needs for a data set: its skeleton and its folders."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from tagpose.data.annotation_tools.skeleton_draft import DEFAULT_SIGMA, SkeletonDraft

NO_VAL_LINE: Final = "val: null # none yet: `make split` divides"
_LINE_WIDTH: Final = 90  # characters of a line
_UNLIMITED_WIDTH: Final = 2**30  # characters, more than any name has


class SplitPaths(NamedTuple):
    """Annotation file and image folder of one split."""

    annotations: Path
    images: Path


def format_skeleton_yaml(draft: SkeletonDraft, made_from: str) -> str:
    """Return the text of conf/skeleton/NAME.yaml.

    Args:
        draft: of the skeleton.
        made_from: what it was made from, for the first line.
    """
    lines = [
        f"# Skeleton drafted by `make skeleton` from {quote_yaml(made_from)}.",
        "_target_: tagpose.skeletons.custom.make_custom_skeleton",
        f"name: {quote_yaml(draft.name)}",
        *_format_list("keypoints", [quote_yaml(name) for name in draft.keypoints]),
        "# Spread of human labelling in square roots of the area, which OKS and AP depend on.",
        f"# Defaults, not measured on this data: {_describe_sigmas(draft.sigmas)}.",
        *_format_list("sigmas", [f"{sigma:g}" for sigma in draft.sigmas]),
        "# Pairs that change places in a flipped image.",
        *_format_pairs("flip_pairs", draft.flips),
        "# Lines of a drawing.",
        *_format_pairs("bones", draft.bones.pairs),
    ]
    return "\n".join(lines) + "\n"


def format_data_yaml(train: SplitPaths, val: SplitPaths | None, made_from: str) -> str:
    """Return the text of conf/data/NAME.yaml.

    Args:
        train: to learn from.
        val: to validate on; None if there is none yet.
        made_from: what it was made from, for the first line.
    """
    folders = [split.annotations.resolve().parent for split in (train, val) if split]
    root = Path(os.path.commonpath(folders))
    lines = [
        f"# Data set of `make skeleton` from {quote_yaml(made_from)}; data.root=FOLDER moves it.",
        "defaults:",
        "  - coco",
        "",
        f"root: {quote_yaml(str(root))}",
        f"train: {_format_paths(train, root)}",
        f"val: {_format_paths(val, root)}" if val else NO_VAL_LINE,
    ]
    return "\n".join(lines) + "\n"


def quote_yaml(text: str) -> str:
    """Return a text as YAML reads it back: never a number, a boolean or null."""
    dumped: str = yaml.safe_dump(
        text, default_style='"', allow_unicode=True, width=_UNLIMITED_WIDTH
    )
    return dumped.rstrip("\n")


def _format_paths(split: SplitPaths, root: Path) -> str:
    """The annotation file and the folder of images, relative to the root where they are in it."""
    # not resolved: the images may be a link in the folder of the annotations
    folder = Path(os.path.abspath(split.images))  # noqa: PTH100
    places = (split.annotations.resolve(), folder)
    relative = [str(p.relative_to(root)) if p.is_relative_to(root) else str(p) for p in places]
    return f"[{', '.join(map(quote_yaml, relative))}]"


def _describe_sigmas(sigmas: Sequence[float]) -> str:
    """Describe the origin of default sigmas."""
    coco = sum(sigma != DEFAULT_SIGMA for sigma in sigmas)
    if coco == len(sigmas):
        return "COCO's, whose keypoints have these names"
    rest = f", and COCO's for {coco} whose names are COCO's" if coco else ""
    return f"{DEFAULT_SIGMA:g} for {len(sigmas) - coco} keypoints{rest}"


def _format_list(key: str, values: Sequence[str]) -> list[str]:
    """A list in rows that fit a line."""
    line = f"{key}: [{', '.join(values)}]"
    if len(line) <= _LINE_WIDTH:
        return [line]
    rows, row = [], ""
    for value in values:
        if row and len(row) + len(value) > _LINE_WIDTH:
            rows.append(row)
            row = ""
        row += f"{value}, "
    return [f"{key}:", "  [", *(f"    {line.rstrip()}" for line in [*rows, row] if line), "  ]"]


def _format_pairs(key: str, pairs: Sequence[Sequence[str]]) -> list[str]:
    """A list of pairs, one a line."""
    if not pairs:
        return [f"{key}: []"]
    return [f"{key}:", *(f"  - [{quote_yaml(a)}, {quote_yaml(b)}]" for a, b in pairs)]
