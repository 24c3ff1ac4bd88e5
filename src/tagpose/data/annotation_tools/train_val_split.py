"""Reproducible split of images into train and val that keeps groups together, and its files."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np

from tagpose.data.annotation_tools.source_dataset import Row, SourceDataset, id_key
from tagpose.data.split_paths import TEST, TRAIN, VAL

IMAGE: Final = "image"
FOLDER: Final = "folder"
VIDEO: Final = "video"
# at the end of a file name
_FRAME_NUMBER: Final = re.compile(r"[\W_]*(frame)?[\W_]*\d+$", re.IGNORECASE)
_ROBOFLOW_MARK: Final = ".rf."  # names of copies that Roboflow augmented are equal up to this mark
_DEFAULT_VAL_FRACTION: Final = 0.1  # of the images
IMAGES_LINK: Final = "images"  # name of the link to the image folder


class SplitAssignment(NamedTuple):
    """Assignment of images to splits."""

    splits: Mapping[str, str]  # TRAIN, VAL or TEST by `id_key` of the image id
    reason: str  # description of the rule, for the user


class WrittenSplit(NamedTuple):
    """A split that was written to a file."""

    split: str
    file: Path
    images: int
    annotations: int


def assign_splits(
    source: SourceDataset, by: str, val_fraction: float | None, seed: int
) -> SplitAssignment:
    """Assign the images of a source to train and val; its test split is kept.

    Args:
        source: dataset with at least two images.
        by: "image", "folder", "video" or a regular expression; see `group_images`.
        val_fraction: fraction of the images in val; None keeps the splits of the source, or is 0.1
            if it has none.
        seed: seed of the random choice.

    Raises:
        ValueError: the images cannot be split like this.
    """
    source_splits = {
        id_key(row["id"]): source.splits.get(id_key(row["id"])) for row in source.images
    }
    if val_fraction is None and {TRAIN, VAL} <= set(source_splits.values()):
        splits = {image_id: split or TRAIN for image_id, split in source_splits.items()}
        return SplitAssignment(splits, "as in the export; val_fraction=0.1 splits it again")
    test_ids = {image_id for image_id, split in source_splits.items() if split == TEST}
    if len(test_ids) == len(source_splits):
        test_ids = set()
    rows = [row for row in source.images if id_key(row["id"]) not in test_ids]
    groups = group_images([row["file_name"] for row in rows], by)
    labeled = {id_key(row["image_id"]) for row in source.annotations if _has_coordinates(row)}
    fraction = _DEFAULT_VAL_FRACTION if val_fraction is None else val_fraction
    in_val = choose_val(groups, [id_key(row["id"]) in labeled for row in rows], fraction, seed)
    splits = dict.fromkeys(test_ids, TEST)
    for row, is_val in zip(rows, in_val.tolist(), strict=True):
        splits[id_key(row["id"])] = VAL if is_val else TRAIN
    return SplitAssignment(splits, f"{len(set(groups))} groups by {by}, seed {seed}")


def group_images(names: Sequence[str], by: str) -> list[str]:
    """Return the group of each image; all images of a group are in the same split.

    Args:
        names: paths of the images with slashes.
        by: "image" for separate images (copies that Roboflow augmented form a group), "folder" for
            the images of a folder, "video" for names that differ in a number at the end, or a
            regular expression that is searched for in each path and whose first group is used.

    Raises:
        ValueError: the expression is invalid, has no group, or does not match a path.
    """
    group_functions: dict[str, Callable[[str], str]] = {
        IMAGE: lambda name: name.partition(_ROBOFLOW_MARK)[0],
        FOLDER: lambda name: str(PurePosixPath(name).parent),
        VIDEO: _video_name,
    }
    group_of = group_functions.get(by) or _compile_group(by)
    return [group_of(name) for name in names]


def choose_val(
    groups: Sequence[str], labeled: Sequence[bool], val_fraction: float, seed: int
) -> np.ndarray:
    """Choose the groups of the validation set.

    Groups with and without labeled keypoints are split separately, so that both splits have both.

    Args:
        groups: [N] group of each image.
        labeled: [N] whether each image has a labeled keypoint.
        val_fraction: fraction of the images in the validation set, between 0 and 1.
        seed: seed of the choice, which does not depend on the order of the images.

    Returns:
        [N] bool, whether each image is in val; both splits have a group with labels.

    Raises:
        ValueError: fewer than two groups have labels, or the fraction is out of range.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(
            f"val_fraction={val_fraction} is not between 0 and 1; use 0.1, for example"
        )
    sizes: dict[str, int] = defaultdict(int)
    has_labels: dict[str, bool] = defaultdict(bool)
    for group, is_labeled in zip(groups, labeled, strict=True):
        sizes[group] += 1
        has_labels[group] |= is_labeled
    random = np.random.default_rng(seed)
    with_labels = sorted(group for group in sizes if has_labels[group])
    if len(with_labels) < 2:
        raise ValueError(
            f"{len(with_labels)} of {len(sizes)} groups ({len(groups)} images) have labeled "
            "keypoints, but train and val need at least one such group each; label more images, or "
            "choose another group="
        )
    without_labels = sorted(sizes.keys() - set(with_labels))
    val_groups = _draw_groups(with_labels, sizes, val_fraction, random, min_groups=1)
    val_groups |= _draw_groups(without_labels, sizes, val_fraction, random, min_groups=0)
    return np.array([group in val_groups for group in groups], bool)


def write_split(
    source: SourceDataset, splits: Mapping[str, str], folder: Path
) -> list[WrittenSplit]:
    """Write one COCO file per split and a link to the images.

    Images are not copied: a link takes no disk space, file names stay those of the export, and the
    folder has the layout of any COCO dataset.

    Args:
        source: dataset, whose rows are written unchanged.
        splits: split by `id_key` of the image id.
        folder: existing folder to write to.

    Raises:
        OSError: the file system does not support links.
    """
    written = []
    for split in (name for name in (TRAIN, VAL, TEST) if name in splits.values()):
        images = [row for row in source.images if splits[id_key(row["id"])] == split]
        annotations = [
            row for row in source.annotations if splits[id_key(row["image_id"])] == split
        ]
        content = {
            "info": source.info,
            "categories": source.categories,
            "images": images,
            "annotations": annotations,
        }
        file = folder / f"{split}.json"
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        written.append(WrittenSplit(split, file, len(images), len(annotations)))
    is_inside = source.folder.is_relative_to(folder)
    target = source.folder.relative_to(folder) if is_inside else source.folder.resolve()
    (folder / IMAGES_LINK).symlink_to(target, target_is_directory=True)
    return written


def _draw_groups(
    groups: Sequence[str],
    sizes: dict[str, int],
    val_fraction: float,
    random: np.random.Generator,
    *,
    min_groups: int,
) -> set[str]:
    """Draw groups until they have about a fraction of the images, but never all groups."""
    target = val_fraction * sum(sizes[group] for group in groups)
    drawn: list[str] = []
    count = 0
    for index in random.permutation(len(groups)).tolist():
        size = sizes[groups[index]]
        if len(drawn) < len(groups) - 1 and (
            len(drawn) < min_groups or abs(count + size - target) < abs(count - target)
        ):
            drawn.append(groups[index])
            count += size
    return set(drawn)


def _video_name(name: str) -> str:
    """Return the path of a video frame without its extension and frame number."""
    path = PurePosixPath(name.partition(_ROBOFLOW_MARK)[0])
    # Roboflow writes clip_7_jpg instead of clip_7.jpg
    stem = path.name.rpartition("_")[0] if _ROBOFLOW_MARK in name else path.stem
    return str(path.with_name(_FRAME_NUMBER.sub("", stem) or path.name))


def _compile_group(expression: str) -> Callable[[str], str]:
    """Return a function that extracts the group of a name with a regular expression."""
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"group={expression} is not a valid regular expression ({error}); correct it, or use "
            "image, folder or video"
        ) from error
    if not compiled.groups:
        raise ValueError(
            f"group={expression} is a regular expression without a group; put the key in "
            "parentheses, or use image, folder or video"
        )

    def group_of(name: str) -> str:
        match = compiled.search(name)
        if not match or match[1] is None:
            raise ValueError(
                f"group={expression} does not match the image {name!r}; choose an expression that "
                "matches all images"
            )
        return match[1]

    return group_of


def _has_coordinates(annotation: Row) -> bool:
    """Return whether an annotation has a keypoint, flat or nested, that is not at 0, 0."""
    values = annotation.get("keypoints")
    rows = values if isinstance(values, list) else []
    flat = [value for row in rows for value in (row if isinstance(row, list) else [row])]
    return any(value not in (0, None, "", "0") for value in flat)
