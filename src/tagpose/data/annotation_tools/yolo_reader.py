"""Reader of YOLO-pose folders: `images/`, `labels/*.txt` and the keypoints of a `data.yaml`."""

import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tagpose.data.annotation_tools.source_dataset import DropLog, Row, SourceDataset, id_key
from tagpose.data.image_files import IMAGE_EXTENSIONS
from tagpose.data.images import (
    EXIF_QUARTER_TURNS,
    EXIF_UPRIGHT,
    IMAGE_ERRORS,
    exif_orientation,
    open_image,
    upright_size,
)
from tagpose.data.split_paths import split_of
from tagpose.skeletons.coco import BODY

YOLO_FORMAT: Final = "YOLO pose"
_MAX_COORDINATE: Final = 1.5  # largest absolute value of a normalized coordinate
_VISIBILITIES: Final = (0, 1, 2)
BOX_VALUES: Final = 4  # values of a label before its keypoints: center x, y, width, height


class YoloPoseConfig(NamedTuple):
    """Keypoints and classes of a `data.yaml`."""

    file: Path
    classes: dict[int, str]
    keypoints: tuple[str, ...]  # [K] names
    values: int  # 2 for x, y; 3 for x, y, v
    flip_idx: tuple[int, ...]  # [K], or empty
    note: str  # origin of the names if they are not in the file, else empty


def read_yolo_export(root: Path, config: YoloPoseConfig, log: DropLog) -> SourceDataset:
    """Read all images below a folder and their labels as COCO rows.

    The area of a person is that of the box, because YOLO has no masks. A label with only a box
    becomes an annotation without labeled keypoints.

    Args:
        root: folder with `images/` and `labels/` at any level.
        config: format of the labels.
        log: log of images that cannot be used.

    Raises:
        ValueError: a label does not have this format.
        FileNotFoundError: there are no images.
    """
    images: list[Row] = []
    annotations: list[Row] = []
    splits: dict[str, str] = {}
    for file in list_yolo_images(root):
        name = file.relative_to(root).as_posix()
        size = _upright_size(file, name, log)
        if size is None:
            continue
        width, height = size
        row = {"id": len(images) + 1, "file_name": name, "width": width, "height": height}
        images.append(row)
        for label in _read_labels(yolo_label_file(file, root), config):
            person = _to_annotation(label, width, height, len(config.keypoints))
            annotations.append({"id": len(annotations) + 1, "image_id": row["id"], **person})
        if split := split_of(Path(name).parent):
            splits[id_key(row["id"])] = split
    if not images:
        raise FileNotFoundError(f"{root} has no image files in a folder called images; add them")
    categories = [_to_category(index, name, config) for index, name in config.classes.items()]
    notes = (config.note,) if config.note else ()
    return SourceDataset(
        YOLO_FORMAT, (config.file,), {}, categories, images, annotations, root, splits, notes
    )


def find_yolo_config(root: Path) -> Path | None:
    """Return the YAML file in a folder that has `kpt_shape`, or None."""
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    return next((file for file in files if "kpt_shape" in _load_yaml(file)), None)


def has_yolo_labels(root: Path) -> bool:
    """Return whether any image below a folder has a label file."""
    return any(yolo_label_file(image, root).is_file() for image in list_yolo_images(root))


def read_yolo_config(file: Path, keypoints: Sequence[str] | None) -> YoloPoseConfig:
    """Read a `data.yaml`.

    Args:
        file: YAML with `kpt_shape`.
        keypoints: [K] names that replace those in the file.

    Raises:
        ValueError: its entries are invalid or inconsistent.
    """
    content = _load_yaml(file)
    count, values = _parse_kpt_shape(content.get("kpt_shape"), file)
    flip_idx = content.get("flip_idx") or []
    if flip_idx and (not isinstance(flip_idx, list) or not _is_involution(flip_idx, count)):
        raise ValueError(
            f"{file}: flip_idx is {flip_idx!r}, expected a permutation that swaps pairs of the "
            f"{count} keypoints of kpt_shape; correct it"
        )
    names, note = _keypoint_names(content, keypoints, count, tuple(flip_idx), file)
    classes = content.get("names") or {0: "object"}
    by_index = dict(enumerate(classes)) if isinstance(classes, list) else classes
    named = {int(index): str(name) for index, name in by_index.items()}
    return YoloPoseConfig(file, named, names, values, tuple(flip_idx), note)


def guess_yolo_config(root: Path, keypoints: Sequence[str]) -> YoloPoseConfig | None:
    """Infer the format of the labels below a folder without `data.yaml`.

    Args:
        root: folder with `images/` and `labels/`, and with `classes.txt` if there are several
            classes.
        keypoints: [K] names.

    Returns:
        The format; None if there are no labels.

    Raises:
        ValueError: the labels do not have two or three values per keypoint.
    """
    labels = (yolo_label_file(image, root) for image in list_yolo_images(root))
    lines = ((file, file.read_text().splitlines()) for file in labels if file.is_file())
    file, line = next(((file, lines[0]) for file, lines in lines if lines), (root, ""))
    if file == root:
        return None
    values, rest = divmod(len(line.split()) - 1 - BOX_VALUES, len(keypoints))
    if rest or values not in (2, 3):
        raise ValueError(
            f"{file}: a label has {len(line.split())} numbers, expected a class, a box and 2 or 3 "
            f"values for each of {len(keypoints)} keypoints; specify all of them in order with "
            "keypoints=[...]"
        )
    class_file = root / "classes.txt"
    classes = class_file.read_text().split("\n") if class_file.is_file() else ["object"]
    named = {index: name.strip() for index, name in enumerate(classes) if name.strip()}
    return YoloPoseConfig(file, named, tuple(map(str, keypoints)), values, (), "")


def list_yolo_images(root: Path) -> list[Path]:
    """Return the images in folders called `images` below a folder."""
    files = [Path(top, name) for top, _, names in os.walk(root, followlinks=True) for name in names]
    return sorted(
        file
        for file in files
        if file.suffix.lower() in IMAGE_EXTENSIONS and "images" in file.relative_to(root).parts[:-1]
    )


def yolo_label_file(image: Path, root: Path) -> Path:
    """Return the label file of an image, which is in labels/ instead of images/."""
    parts = list(image.relative_to(root).parts)
    last = max(n for n, part in enumerate(parts[:-1]) if part == "images")
    parts[last] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _load_yaml(file: Path) -> dict[Any, Any]:
    """Return the mapping in a YAML file; empty if it has another content."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # a few nested aliases can expand to more than fits into memory
            raise ValueError(f"{file} contains aliases (*NAME); replace them with their values")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is not valid YAML: {error}") from error
    return content if isinstance(content, dict) else {}


def _parse_kpt_shape(shape: object, file: Path) -> tuple[int, int]:
    """Return the number of keypoints and the number of values per keypoint."""
    if isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape):
        count, values = shape
        if count > 0 and values in (2, 3):
            return count, values
    raise ValueError(
        f"{file}: kpt_shape is {shape!r}, expected [number of keypoints, 2 or 3]; correct it"
    )


def _is_involution(flip_idx: Sequence[object], count: int) -> bool:
    """Return whether indices [K] swap keypoints in pairs."""
    return sorted(map(str, flip_idx)) == sorted(map(str, range(count))) and all(
        isinstance(other, int) and flip_idx[other] == k for k, other in enumerate(flip_idx)
    )


def _keypoint_names(
    content: dict[Any, Any],
    keypoints: Sequence[str] | None,
    count: int,
    flip_idx: tuple[int, ...],
    file: Path,
) -> tuple[tuple[str, ...], str]:
    """Return the keypoint names, and a note about their origin if it is an assumption."""
    listed = content.get("kpt_names")
    per_class = next(iter(listed.values()), None) if isinstance(listed, dict) else listed
    names, note = tuple(map(str, keypoints or per_class or ())), ""
    if not names and flip_idx == BODY.flip_indices:
        names = BODY.keypoints
        note = f"{file} has no keypoint names; COCO's are used, because flip_idx is COCO's"
    elif not names:
        names = tuple(f"keypoint_{k}" for k in range(1, count + 1))
        note = f"{file} has no keypoint names; specify {count} names with keypoints=[NAME,...]"
    if len(names) != count:
        raise ValueError(
            f"{file}: kpt_shape has {count} keypoints, but there are {len(names)} names; specify "
            f"{count} names with keypoints=[NAME,...]"
        )
    return names, note


class _YoloLabel(NamedTuple):
    """A line of a label file, in fractions of image width and height."""

    category: int
    box: tuple[float, ...]  # center x, y, width, height
    keypoints: tuple[tuple[float, float, int], ...]  # x, y, v; empty for a label with only a box


def _upright_size(file: Path, name: str, log: DropLog) -> tuple[int, int] | None:
    """Return the width and height of the upright image, which labels are relative to."""
    try:
        with open_image(file) as image:
            orientation, size = exif_orientation(image), upright_size(image)
    except IMAGE_ERRORS:
        log.add("images that cannot be read", name)
        return None
    if orientation not in (0, EXIF_UPRIGHT, *EXIF_QUARTER_TURNS):
        # the size does not reveal whether such an image was annotated upright or as stored
        log.add("images that EXIF flips or rotates by 180 degrees; save them upright", name)
        return None
    return size


def _read_labels(file: Path, config: YoloPoseConfig) -> list[_YoloLabel]:
    """Return the labels of a file; background images may have no file."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return [
        _parse_label(line, f"{file}:{n}", config) for n, line in enumerate(lines, 1) if line.strip()
    ]


def _parse_label(line: str, location: str, config: YoloPoseConfig) -> _YoloLabel:
    """Parse a line of a label file; `location` is for messages."""
    try:
        category, *numbers = map(float, line.split())
    except ValueError as error:
        raise ValueError(f"{location}: {error}; a label must consist of numbers") from error
    expected = BOX_VALUES + len(config.keypoints) * config.values
    if len(numbers) not in (BOX_VALUES, expected):
        raise ValueError(
            f"{location}: {len(numbers)} numbers after the class, expected {expected} for "
            f"kpt_shape=[{len(config.keypoints)}, {config.values}]; correct it in {config.file}"
        )
    if category not in config.classes:
        raise ValueError(
            f"{location}: class {category:g} is not in names of {config.file}; add it there"
        )
    starts = range(BOX_VALUES, len(numbers), config.values)
    points = tuple(_parse_keypoint(numbers[i : i + config.values], location) for i in starts)
    coordinates = [*numbers[:BOX_VALUES], *(value for point in points for value in point[:2])]
    if not all(isfinite(value) and abs(value) <= _MAX_COORDINATE for value in coordinates):
        raise ValueError(
            f"{location}: a coordinate is not a fraction of the image's width or height; divide "
            "coordinates in pixels by the image size"
        )
    return _YoloLabel(int(category), tuple(numbers[:BOX_VALUES]), points)


def _parse_keypoint(values: Sequence[float], location: str) -> tuple[float, float, int]:
    """Parse a keypoint; without a visibility it is labeled unless it is at 0, 0."""
    x, y, *rest = values
    v = rest[0] if rest else 2 * (x != 0 or y != 0)
    if v not in _VISIBILITIES:
        raise ValueError(f"{location}: a keypoint has the visibility {v:g}, expected 0, 1 or 2")
    return x, y, int(v)


def _to_annotation(label: _YoloLabel, width: int, height: int, count: int) -> Row:
    """Convert a label to a COCO annotation in image pixels."""
    x, y, w, h = label.box
    box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    points = label.keypoints or ((0.0, 0.0, 0),) * count
    flat = [value for px, py, v in points for value in (_round(px * width), _round(py * height), v)]
    return {
        "category_id": label.category + 1,
        "iscrowd": 0,
        "bbox": [_round(value) for value in box],
        "area": _round(box[2] * box[3]),
        "keypoints": flat,
        "num_keypoints": sum(v > 0 for _, _, v in points),
    }


def _round(value: float) -> float:
    """Round to a thousandth of a pixel, finer than any label."""
    return round(value, 3)


def _to_category(index: int, name: str, config: YoloPoseConfig) -> Row:
    """Convert a class to a COCO category with the additional key `flip_idx`."""
    row: Row = {"id": index + 1, "name": name, "keypoints": list(config.keypoints), "skeleton": []}
    return row | ({"flip_idx": list(config.flip_idx)} if config.flip_idx else {})
