"""Writer of the two YAML files that training needs for a dataset: skeleton and data."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from tagpose.data.annotation_tools.skeleton_draft import DEFAULT_SIGMA, SkeletonDraft
from tagpose.data.split_paths import SplitPaths
from tagpose.io import atomic_write

NO_VAL_LINE: Final = "val: null # missing: create it with `tagpose data split`"
_LINE_WIDTH: Final = 90  # characters
_UNLIMITED_WIDTH: Final = 2**30  # characters, more than any name has


def format_skeleton_yaml(draft: SkeletonDraft, source: str) -> str:
    """Return the text of conf/skeleton/NAME.yaml.

    Args:
        draft: draft of the skeleton.
        source: name of the annotation file, for the first line.
    """
    lines = [
        f"# Skeleton drafted by `tagpose data skeleton` from {quote_yaml(source)}.",
        "_target_: tagpose.skeletons.custom.make_custom_skeleton",
        f"name: {quote_yaml(draft.name)}",
        *_format_yaml_list("keypoints", [quote_yaml(name) for name in draft.keypoints]),
        "# Standard deviation of human labels divided by sqrt(area), used by OKS and AP.",
        f"# Defaults, not measured on this data: {_describe_sigmas(draft.sigmas)}.",
        *_format_yaml_list("sigmas", [f"{sigma:g}" for sigma in draft.sigmas]),
        "# Pairs that are swapped in a flipped image.",
        *_format_yaml_pairs("flip_pairs", draft.flips),
        "# Pairs that drawings connect with a line.",
        *_format_yaml_pairs("bones", draft.bones.pairs),
    ]
    return "\n".join(lines) + "\n"


def format_data_yaml(train: SplitPaths, val: SplitPaths | None, source: str) -> str:
    """Return the text of conf/data/NAME.yaml.

    Args:
        train: paths of the training set.
        val: paths of the validation set; None if it does not exist yet.
        source: name of the annotation file, for the first line.
    """
    folders = [split.annotations.resolve().parent for split in (train, val) if split]
    root = Path(os.path.commonpath(folders))
    lines = [
        f"# Dataset drafted by `tagpose data skeleton` from {quote_yaml(source)}.",
        "# Override data.root=FOLDER if it has moved.",
        "defaults:",
        "  - coco",
        "",
        f"root: {quote_yaml(str(root))}",
        f"train: {_format_yaml_paths(train, root)}",
        f"val: {_format_yaml_paths(val, root)}" if val else NO_VAL_LINE,
    ]
    return "\n".join(lines) + "\n"


def quote_yaml(text: str) -> str:
    """Quote text so that YAML never reads it as a number, a boolean or null."""
    quoted: str = yaml.safe_dump(
        text, default_style='"', allow_unicode=True, width=_UNLIMITED_WIDTH
    )
    return quoted.rstrip("\n")


def write_configs(texts: Mapping[str, str], folder: Path, *, overwrite: bool) -> None:
    """Write configuration files by name, either all or none."""
    edited = [str(folder / name) for name, text in texts.items() if has_edits(folder / name, text)]
    if edited and not overwrite:
        raise FileExistsError(
            f"{' and '.join(edited)} exists and differs; keep it with another name=NAME, or "
            "replace it with overwrite=true"
        )
    for name, text in texts.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
        print(f"written: {folder / name}")


def has_edits(file: Path, text: str) -> bool:
    """Return whether a file differs in more than its first comment, and already names a val set."""
    if not file.exists():
        return False
    content = file.read_text(encoding="utf-8")
    return content.splitlines()[1:] != text.splitlines()[1:] and NO_VAL_LINE not in content


def _format_yaml_paths(split: SplitPaths, root: Path) -> str:
    """Format annotation file and image folder, relative to the root if they are below it."""
    # not resolved: the images may be a link in the folder of the annotations
    images = Path(os.path.abspath(split.images))  # noqa: PTH100
    paths = (split.annotations.resolve(), images)
    relative = [str(p.relative_to(root)) if p.is_relative_to(root) else str(p) for p in paths]
    return f"[{', '.join(map(quote_yaml, relative))}]"


def _describe_sigmas(sigmas: Sequence[float]) -> str:
    """Describe the origin of default sigmas."""
    num_coco = sum(sigma != DEFAULT_SIGMA for sigma in sigmas)
    if num_coco == len(sigmas):
        return "those of COCO's keypoints of the same names"
    rest = f", those of COCO for {num_coco} with the same names" if num_coco else ""
    num_default = len(sigmas) - num_coco
    return f"{DEFAULT_SIGMA:g} for {num_default} keypoint{'s' * (num_default > 1)}{rest}"


def _format_yaml_list(key: str, values: Sequence[str]) -> list[str]:
    """Format a YAML list in lines of limited width."""
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


def _format_yaml_pairs(key: str, pairs: Sequence[Sequence[str]]) -> list[str]:
    """Format a YAML list of pairs, one per line."""
    if not pairs:
        return [f"{key}: []"]
    return [f"{key}:", *(f"  - [{quote_yaml(a)}, {quote_yaml(b)}]" for a, b in pairs)]
