"""Reader of YOLO-pose folders: `images/`, `labels/*.txt` and `data.yaml`."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Final, NamedTuple

from tagpose.data.annotation_tools.source_dataset import DropLog, Row, SourceDataset, id_key
from tagpose.data.annotation_tools.split_search import split_of
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
    open_image,
    upright_size,
)

YOLO_FORMAT: Final = "YOLO pose"
_MAX_COORDINATE: Final = 1.5  # largest absolute value of a normalized coordinate
_VISIBILITIES: Final = (0, 1, 2)


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
