"""Layout of YOLO-pose folders: images, labels, and what a `data.yaml` states about keypoints."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tagpose.data.image_files import IMAGE_EXTENSIONS
from tagpose.skeletons.coco import BODY

BOX_VALUES: Final = 4  # numbers of a label before its keypoints: centre x, y, width, height


class YoloPoseConfig(NamedTuple):
    """Keypoints and classes as a `data.yaml` states them."""

    file: Path
    classes: dict[int, str]
    keypoints: tuple[str, ...]  # [K] names
    values: int  # 2 for x, y; 3 for x, y, v
    flip_idx: tuple[int, ...]  # [K], or empty
    note: str  # where the names are from, if they are not in the file


def find_yolo_config(root: Path) -> Path | None:
    """Return the YAML file in a folder that has `kpt_shape`, if there is one."""
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    return next((file for file in files if "kpt_shape" in _load_yaml(file)), None)


def has_yolo_labels(root: Path) -> bool:
    """Whether there are images with label files below a folder."""
    return any(yolo_label_file(image, root).is_file() for image in list_yolo_images(root))


def read_yolo_config(file: Path, keypoints: Sequence[str] | None) -> YoloPoseConfig:
    """Read a `data.yaml`.

    Args:
        file: YAML with `kpt_shape`.
        keypoints: [K] names that replace those in the file.

    Raises:
        ValueError: if its entries contradict each other.
    """
    content = _load_yaml(file)
    count, values = _parse_kpt_shape(content.get("kpt_shape"), file)
    flips = content.get("flip_idx") or []
    if flips and (not isinstance(flips, list) or not _is_involution(flips, count)):
        raise ValueError(
            f"{file}: flip_idx is {flips!r}, which does not exchange the {count} keypoints of "
            "kpt_shape in pairs"
        )
    names, note = _keypoint_names(content, keypoints, count, tuple(flips), file)
    classes = content.get("names") or {0: "object"}
    by_index = dict(enumerate(classes)) if isinstance(classes, list) else classes
    return YoloPoseConfig(
        file, {int(i): str(name) for i, name in by_index.items()}, names, values, tuple(flips), note
    )


def guess_yolo_config(root: Path, keypoints: Sequence[str]) -> YoloPoseConfig | None:
    """Return what the labels below a folder without `data.yaml` contain, if there are any.

    Args:
        root: folder with `images/` and `labels/`, and with `classes.txt` if there are several.
        keypoints: [K] names.

    Raises:
        ValueError: if the labels do not have two or three values for each keypoint.
    """
    labels = (yolo_label_file(image, root) for image in list_yolo_images(root))
    lines = ((file, file.read_text().splitlines()) for file in labels if file.is_file())
    file, line = next(((file, lines[0]) for file, lines in lines if lines), (root, ""))
    if file == root:
        return None
    values, rest = divmod(len(line.split()) - 1 - BOX_VALUES, len(keypoints))
    if rest or values not in (2, 3):
        raise ValueError(
            f"{file}: {len(line.split())} numbers are no class, box and 2 or 3 values for each of "
            f"{len(keypoints)} keypoints; keypoints=[...] must name all of them in their order"
        )
    listed = root / "classes.txt"
    classes = listed.read_text().split("\n") if listed.is_file() else ["object"]
    named = {index: name.strip() for index, name in enumerate(classes) if name.strip()}
    return YoloPoseConfig(file, named, tuple(map(str, keypoints)), values, (), "")


def list_yolo_images(root: Path) -> list[Path]:
    """Images below a folder that lie in one called images."""
    found = [Path(top, name) for top, _, names in os.walk(root, followlinks=True) for name in names]
    return sorted(
        file
        for file in found
        if file.suffix.lower() in IMAGE_EXTENSIONS and "images" in file.relative_to(root).parts[:-1]
    )


def yolo_label_file(image: Path, root: Path) -> Path:
    """The label file of an image: in labels/ where the image is in images/."""
    parts = list(image.relative_to(root).parts)
    last = max(n for n, part in enumerate(parts[:-1]) if part == "images")
    parts[last] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _load_yaml(file: Path) -> dict[Any, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # a few nested ones expand to more than memory holds
            raise ValueError(f"{file} refers to parts of itself (*NAME); write them out")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is not YAML: {error}") from error
    return content if isinstance(content, dict) else {}


def _parse_kpt_shape(shape: object, file: Path) -> tuple[int, int]:
    """The number of keypoints and of values of each."""
    if isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape):
        count, values = shape
        if count > 0 and values in (2, 3):
            return count, values
    raise ValueError(f"{file}: kpt_shape is {shape!r}, not [keypoints, 2 or 3]")


def _is_involution(flips: Sequence[object], count: int) -> bool:
    """Whether indices [K] exchange keypoints in pairs."""
    return sorted(map(str, flips)) == sorted(map(str, range(count))) and all(
        isinstance(k, int) and flips[k] == n for n, k in enumerate(flips)
    )


def _keypoint_names(
    content: dict[Any, Any],
    given: Sequence[str] | None,
    count: int,
    flips: tuple[int, ...],
    file: Path,
) -> tuple[tuple[str, ...], str]:
    """The names of the keypoints, and where they are from if that is an assumption."""
    listed = content.get("kpt_names")
    per_class = next(iter(listed.values()), None) if isinstance(listed, dict) else listed
    names, note = tuple(map(str, given or per_class or ())), ""
    if not names and flips == BODY.flip_indices:
        names = BODY.keypoints
        note = f"{file} names no keypoints; 17 with the flips of COCO's are taken to be COCO's"
    elif not names:
        names = tuple(f"keypoint_{k}" for k in range(1, count + 1))
        note = f"{file} names no keypoints; keypoints=[NAME,...] gives the {count} names"
    if len(names) != count:
        raise ValueError(
            f"{file}: kpt_shape has {count} keypoints, and there are {len(names)} names"
        )
    return names, note
