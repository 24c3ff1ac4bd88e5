"""Read YOLO-pose folders: `images/`, `labels/*.txt` and a `data.yaml`."""

import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from PIL import Image

from tagpose.data.annotation_tools.records import DropLog, Row, Source, half_of, key
from tagpose.data.images import IMAGE_ENDINGS
from tagpose.data.sources import UNREADABLE
from tagpose.official_skeletons import BODY

KIND: Final = "YOLO pose"
_BOX: Final = 4  # numbers of a label before its keypoints: centre x, y, width, height
_ORIENTATION: Final = 0x0112  # EXIF
_UPRIGHT: Final = 1
_QUARTER_TURNS: Final = (5, 6, 7, 8)  # values of EXIF's orientation that exchange width and height
_FARTHEST: Final = 1.5  # of an image's side: no normalised coordinate lies farther out
_VISIBILITIES: Final = (0, 1, 2)


class PoseConfig(NamedTuple):
    """What a `data.yaml` states about keypoints."""

    file: Path
    classes: dict[int, str]
    keypoints: tuple[str, ...]  # [K] names
    values: int  # 2 for x, y; 3 for x, y, v
    flip_idx: tuple[int, ...]  # [K], or empty
    note: str  # where the names are from, if they are not in the file


def find_config(root: Path) -> Path | None:
    """Return the YAML file in a folder that has `kpt_shape`, if there is one."""
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    return next((file for file in files if "kpt_shape" in _load_yaml(file)), None)


def has_labels(root: Path) -> bool:
    """Whether there are images with label files below a folder."""
    return any(_label_file(image, root).is_file() for image in _images(root))


def read_config(file: Path, keypoints: Sequence[str] | None) -> PoseConfig:
    """Read a `data.yaml`.

    Args:
        file: YAML with `kpt_shape`.
        keypoints: [K] names that replace those in the file.

    Raises:
        ValueError: if its entries contradict each other.
    """
    content = _load_yaml(file)
    count, values = _shape(content.get("kpt_shape"), file)
    flips = content.get("flip_idx") or []
    if flips and (not isinstance(flips, list) or not _is_involution(flips, count)):
        raise ValueError(
            f"{file}: flip_idx is {flips!r}, which does not exchange the {count} keypoints of "
            "kpt_shape in pairs"
        )
    names, note = _names(content, keypoints, count, tuple(flips), file)
    classes = content.get("names") or {0: "object"}
    by_index = dict(enumerate(classes)) if isinstance(classes, list) else classes
    return PoseConfig(
        file, {int(i): str(name) for i, name in by_index.items()}, names, values, tuple(flips), note
    )


def guess_config(root: Path, keypoints: Sequence[str]) -> PoseConfig | None:
    """Return what the labels below a folder without `data.yaml` contain, if there are any.

    Args:
        root: folder with `images/` and `labels/`, and with `classes.txt` if there are several.
        keypoints: [K] names.

    Raises:
        ValueError: if the labels do not have two or three values for each keypoint.
    """
    labels = (_label_file(image, root) for image in _images(root))
    lines = ((file, file.read_text().splitlines()) for file in labels if file.is_file())
    file, line = next(((file, lines[0]) for file, lines in lines if lines), (root, ""))
    if file == root:
        return None
    values, rest = divmod(len(line.split()) - 1 - _BOX, len(keypoints))
    if rest or values not in (2, 3):
        raise ValueError(
            f"{file}: {len(line.split())} numbers are no class, box and 2 or 3 values for each of "
            f"{len(keypoints)} keypoints; keypoints=[...] must name all of them in their order"
        )
    listed = root / "classes.txt"
    classes = listed.read_text().split("\n") if listed.is_file() else ["object"]
    named = {index: name.strip() for index, name in enumerate(classes) if name.strip()}
    return PoseConfig(file, named, tuple(map(str, keypoints)), values, (), "")


def read_yolo(root: Path, config: PoseConfig, log: DropLog) -> Source:
    """Read all images below a folder with their labels, as COCO rows.

    The area of a person is that of the box, because YOLO has no masks. A label with a box alone is
    an annotation whose keypoints are all unlabelled.

    Args:
        root: folder with `images/` and `labels/`, or with such folders below.
        config: what the labels contain.
        log: of images that cannot be used.

    Raises:
        ValueError: if a label file is not of this format.
        FileNotFoundError: if there are no images.
    """
    images: list[Row] = []
    annotations: list[Row] = []
    halves: dict[str, str] = {}
    for file in _images(root):
        name = file.relative_to(root).as_posix()
        size = _upright_size(file, name, log)
        if size is None:
            continue
        width, height = size
        row = {"id": len(images) + 1, "file_name": name, "width": width, "height": height}
        images.append(row)
        for label in _labels(_label_file(file, root), config):
            person = _annotation(label, width, height, len(config.keypoints))
            annotations.append({"id": len(annotations) + 1, "image_id": row["id"], **person})
        if half := half_of(Path(name).parent):
            halves[key(row["id"])] = half
    if not images:
        raise FileNotFoundError(f"{root} has no images in a folder called images")
    categories = [_category(index, name, config) for index, name in config.classes.items()]
    notes = (config.note,) if config.note else ()
    return Source(KIND, (config.file,), {}, categories, images, annotations, root, halves, notes)


class _Label(NamedTuple):
    """One line of a label file; coordinates are fractions of the image's sides."""

    category: int
    box: tuple[float, ...]  # centre x, y, width, height
    keypoints: tuple[tuple[float, float, int], ...]  # x, y, v; none of a box alone


def _load_yaml(file: Path) -> dict[Any, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not YAML: {error}") from error
    return content if isinstance(content, dict) else {}


def _shape(shape: object, file: Path) -> tuple[int, int]:
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


def _names(
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
    if not names and flips == BODY.mirror:
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


def _images(root: Path) -> list[Path]:
    """Images below a folder that lie in one called images."""
    found = [Path(top, name) for top, _, names in os.walk(root, followlinks=True) for name in names]
    return sorted(
        file
        for file in found
        if file.suffix.lower() in IMAGE_ENDINGS and "images" in file.relative_to(root).parts[:-1]
    )


def _label_file(image: Path, root: Path) -> Path:
    """The label file of an image: in labels/ where the image is in images/."""
    parts = list(image.relative_to(root).parts)
    last = max(n for n, part in enumerate(parts[:-1]) if part == "images")
    parts[last] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _upright_size(file: Path, name: str, log: DropLog) -> tuple[int, int] | None:
    """Width and height as viewers show the image, which labels are relative to."""
    try:
        with Image.open(file) as image:
            orientation, (width, height) = image.getexif().get(_ORIENTATION, _UPRIGHT), image.size
    except UNREADABLE:
        log.add("images that cannot be read", name)
        return None
    if orientation in _QUARTER_TURNS:
        return height, width
    if orientation not in (0, _UPRIGHT):
        # the size does not tell whether such an image was annotated upright or as stored
        log.add("images that EXIF mirrors or turns by 180 degrees; save them upright", name)
        return None
    return width, height


def _labels(file: Path, config: PoseConfig) -> list[_Label]:
    """The lines of a label file; none where there is no file, as of a background image."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return [_label(line, f"{file}:{n}", config) for n, line in enumerate(lines, 1) if line.strip()]


def _label(line: str, where: str, config: PoseConfig) -> _Label:
    """One line of a label file."""
    try:
        category, *numbers = map(float, line.split())
    except ValueError as error:
        raise ValueError(f"{where}: {error}; a label has numbers only") from error
    full = _BOX + len(config.keypoints) * config.values
    if len(numbers) not in (_BOX, full):
        raise ValueError(
            f"{where}: {len(numbers)} numbers after the class, not {full} as kpt_shape="
            f"[{len(config.keypoints)}, {config.values}] in {config.file} says"
        )
    if category not in config.classes:
        raise ValueError(f"{where}: class {category:g} is not in names of {config.file}")
    starts = range(_BOX, len(numbers), config.values)
    points = tuple(_keypoint(numbers[at : at + config.values], where) for at in starts)
    coordinates = [*numbers[:_BOX], *(value for point in points for value in point[:2])]
    if not all(isfinite(value) and abs(value) <= _FARTHEST for value in coordinates):
        raise ValueError(f"{where}: a coordinate is not a fraction of the image's side")
    return _Label(int(category), tuple(numbers[:_BOX]), points)


def _keypoint(values: Sequence[float], where: str) -> tuple[float, float, int]:
    """A keypoint; without a visibility it is labelled unless it is at 0, 0."""
    x, y, *rest = values
    v = rest[0] if rest else 2 * (x != 0 or y != 0)
    if v not in _VISIBILITIES:
        raise ValueError(f"{where}: a keypoint has the visibility {v:g}, not 0, 1 or 2")
    return x, y, int(v)


def _annotation(label: _Label, width: int, height: int, count: int) -> Row:
    """A label in image pixels."""
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
    """A thousandth of a pixel is more than any label means."""
    return round(value, 3)


def _category(index: int, name: str, config: PoseConfig) -> Row:
    """A class as a category of COCO; `flip_idx` is no key of COCO's."""
    row: Row = {"id": index + 1, "name": name, "keypoints": list(config.keypoints), "skeleton": []}
    return row | ({"flip_idx": list(config.flip_idx)} if config.flip_idx else {})
