"""Read YOLO-pose folders: `images/`, `labels/*.txt` and a `data.yaml`."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from tagpose.data.annotation_tools.source_dataset import (
    DropLog,
    Row,
    SourceDataset,
    id_key,
    split_of,
)
from tagpose.data.annotation_tools.yolo_config import (
    BOX_VALUES,
    YoloPoseConfig,
    list_yolo_images,
    yolo_label_file,
)
from tagpose.data.images import (
    EXIF_QUARTER_TURNS,
    EXIF_UPRIGHT,
    IMAGE_ERRORS,
    exif_orientation,
    upright_size,
)

YOLO_FORMAT: Final = "YOLO pose"
_MAX_COORDINATE: Final = 1.5  # of an image's side: no normalised coordinate lies farther out
_VISIBILITIES: Final = (0, 1, 2)


def read_yolo_export(root: Path, config: YoloPoseConfig, log: DropLog) -> SourceDataset:
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
        raise FileNotFoundError(f"{root} has no images in a folder called images")
    categories = [_to_category(index, name, config) for index, name in config.classes.items()]
    notes = (config.note,) if config.note else ()
    return SourceDataset(
        YOLO_FORMAT, (config.file,), {}, categories, images, annotations, root, splits, notes
    )


class _YoloLabel(NamedTuple):
    """One line of a label file; coordinates are fractions of the image's sides."""

    category: int
    box: tuple[float, ...]  # centre x, y, width, height
    keypoints: tuple[tuple[float, float, int], ...]  # x, y, v; none of a box alone


def _upright_size(file: Path, name: str, log: DropLog) -> tuple[int, int] | None:
    """Width and height as viewers show the image, which labels are relative to."""
    try:
        with Image.open(file) as image:
            orientation, size = exif_orientation(image), upright_size(image)
    except IMAGE_ERRORS:
        log.add("images that cannot be read", name)
        return None
    if orientation not in (0, EXIF_UPRIGHT, *EXIF_QUARTER_TURNS):
        # the size does not tell whether such an image was annotated upright or as stored
        log.add("images that EXIF mirrors or turns by 180 degrees; save them upright", name)
        return None
    return size


def _read_labels(file: Path, config: YoloPoseConfig) -> list[_YoloLabel]:
    """The lines of a label file; none where there is no file, as of a background image."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return [
        _parse_label(line, f"{file}:{n}", config) for n, line in enumerate(lines, 1) if line.strip()
    ]


def _parse_label(line: str, where: str, config: YoloPoseConfig) -> _YoloLabel:
    """One line of a label file."""
    try:
        category, *numbers = map(float, line.split())
    except ValueError as error:
        raise ValueError(f"{where}: {error}; a label has numbers only") from error
    full = BOX_VALUES + len(config.keypoints) * config.values
    if len(numbers) not in (BOX_VALUES, full):
        raise ValueError(
            f"{where}: {len(numbers)} numbers after the class, not {full} as kpt_shape="
            f"[{len(config.keypoints)}, {config.values}] in {config.file} says"
        )
    if category not in config.classes:
        raise ValueError(f"{where}: class {category:g} is not in names of {config.file}")
    starts = range(BOX_VALUES, len(numbers), config.values)
    points = tuple(_parse_keypoint(numbers[at : at + config.values], where) for at in starts)
    coordinates = [*numbers[:BOX_VALUES], *(value for point in points for value in point[:2])]
    if not all(isfinite(value) and abs(value) <= _MAX_COORDINATE for value in coordinates):
        raise ValueError(f"{where}: a coordinate is not a fraction of the image's side")
    return _YoloLabel(int(category), tuple(numbers[:BOX_VALUES]), points)


def _parse_keypoint(values: Sequence[float], where: str) -> tuple[float, float, int]:
    """A keypoint; without a visibility it is labelled unless it is at 0, 0."""
    x, y, *rest = values
    v = rest[0] if rest else 2 * (x != 0 or y != 0)
    if v not in _VISIBILITIES:
        raise ValueError(f"{where}: a keypoint has the visibility {v:g}, not 0, 1 or 2")
    return x, y, int(v)


def _to_annotation(label: _YoloLabel, width: int, height: int, count: int) -> Row:
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


def _to_category(index: int, name: str, config: YoloPoseConfig) -> Row:
    """A class as a category of COCO; `flip_idx` is no key of COCO's."""
    row: Row = {"id": index + 1, "name": name, "keypoints": list(config.keypoints), "skeleton": []}
    return row | ({"flip_idx": list(config.flip_idx)} if config.flip_idx else {})
