"""Divide images into train and val, reproducibly and without a group in both."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Final

import numpy as np

IMAGE: Final = "image"
FOLDER: Final = "folder"
VIDEO: Final = "video"
_FRAME_NUMBER: Final = re.compile(
    r"[\W_]*(frame)?[\W_]*\d+$", re.IGNORECASE
)  # at the end of a name
_ROBOFLOW_MARK: Final = ".rf."  # Roboflow: all that is augmented of one image has what is before


def group_images(names: Sequence[str], by: str) -> list[str]:
    """Return the group of each image; images of one group are never divided.

    Args:
        names: paths of the images with slashes.
        by: "image" for each image alone (copies that Roboflow augmented stay together), "folder"
            for the images of a folder, "video" for names that differ in a number at the end, or a
            regular expression that is searched for in each path: its first group is the image's.

    Raises:
        ValueError: if the expression is not valid, has no group, or does not match a path.
    """
    keys: dict[str, Callable[[str], str]] = {
        IMAGE: lambda name: name.partition(_ROBOFLOW_MARK)[0],
        FOLDER: lambda name: str(PurePosixPath(name).parent),
        VIDEO: _video_name,
    }
    key = keys.get(by) or _compile_group(by)
    return [key(name) for name in names]


def choose_val(
    groups: Sequence[str], labelled: Sequence[bool], val_fraction: float, seed: int
) -> np.ndarray:
    """Choose the groups of the validation set.

    Groups with and without labelled keypoints are divided separately, so that both splits have
    some of either.

    Args:
        groups: [N] group of each image.
        labelled: [N] whether an image has a labelled keypoint.
        val_fraction: share of the images in the validation set, between 0 and 1.
        seed: of the choice; the order of the images does not matter.

    Returns:
        Which images [N] are in the validation set; at least one group with labels is, and at least
        one is not.

    Raises:
        ValueError: if fewer than two groups have labels, or if the val_fraction is out of range.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction={val_fraction} is not between 0 and 1, such as 0.1")
    sizes: dict[str, int] = defaultdict(int)
    has_labels: dict[str, bool] = defaultdict(bool)
    for group, is_labelled in zip(groups, labelled, strict=True):
        sizes[group] += 1
        has_labels[group] |= is_labelled
    random = np.random.default_rng(seed)
    with_labels = sorted(group for group in sizes if has_labels[group])
    if len(with_labels) < 2:
        raise ValueError(
            f"labelled keypoints are in {len(with_labels)} of {len(sizes)} groups ({len(groups)} "
            "images), but train and val need one each; label more images, or choose another group="
        )
    others = sorted(sizes.keys() - set(with_labels))
    chosen = _draw_groups(with_labels, sizes, val_fraction, random, least=1)
    chosen |= _draw_groups(others, sizes, val_fraction, random, least=0)
    return np.array([group in chosen for group in groups], bool)


def _draw_groups(
    groups: Sequence[str],
    sizes: dict[str, int],
    val_fraction: float,
    random: np.random.Generator,
    *,
    least: int,
) -> set[str]:
    """Groups drawn until they have about a fraction of the images; never all of several."""
    wanted = val_fraction * sum(sizes[group] for group in groups)
    taken: list[str] = []
    count = 0
    for place in random.permutation(len(groups)).tolist():
        size = sizes[groups[place]]
        if len(taken) < len(groups) - 1 and (
            len(taken) < least or abs(count + size - wanted) < abs(count - wanted)
        ):
            taken.append(groups[place])
            count += size
    return set(taken)


def _video_name(name: str) -> str:
    """The path of a frame without its ending and the number at its end."""
    path = PurePosixPath(name.partition(_ROBOFLOW_MARK)[0])
    # Roboflow has clip_7_jpg where other tools have clip_7.jpg
    stem = path.name.rpartition("_")[0] if _ROBOFLOW_MARK in name else path.stem
    return str(path.with_name(_FRAME_NUMBER.sub("", stem) or path.name))


def _compile_group(expression: str) -> Callable[[str], str]:
    """Return a function from a name to its group by a regular expression."""
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"group={expression} is neither image, folder nor video, nor a regular expression: "
            f"{error}"
        ) from error
    if not compiled.groups:
        raise ValueError(
            f"group={expression} is neither image, folder nor video, and as a regular expression "
            "it has no (group)"
        )

    def find(name: str) -> str:
        match = compiled.search(name)
        if not match or match[1] is None:
            raise ValueError(f"group={expression} does not match the image {name!r}")
        return match[1]

    return find
