"""Read COCO keypoint files as annotation tools export them."""

import gzip
import json
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Final

from tagpose.data.annotation_tools.image_folder_search import find_image_folder, find_in_folder
from tagpose.data.annotation_tools.source_dataset import (
    DropLog,
    Row,
    SourceDataset,
    id_key,
    keypoint_names,
    split_of,
)

COCO_FORMAT: Final = "COCO keypoints"
_GZIP: Final = b"\x1f\x8b"
_MAX_EXPANSION: Final = 200  # times a gzipped file; annotations are packed to a tenth or so


def load_coco_json(file: Path) -> Row:
    """Load a COCO file: JSON in any encoding, gzipped or not, with its lists.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it is not JSON, or has no lists of images and annotations.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; name the annotation file of the export")
    content = load_json(file)
    if not is_coco(content):
        raise ValueError(
            f"{file} has no lists of images and annotations; export it as COCO keypoints"
        )
    content["categories"] = _check_rows(content.get("categories") or [], "categories", file)
    for name in ("images", "annotations"):
        _check_rows(content[name], name, file)
    for place, image in enumerate(content["images"]):
        if not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
            raise ValueError(f"{file}: images[{place}] has no id or no file_name")
    return content


def is_coco(content: object) -> bool:
    """Whether a JSON value has what a COCO file has."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    )


def read_coco_export(
    files: Sequence[Path], top: Path | None, images: Path | None, log: DropLog
) -> SourceDataset:
    """Read COCO files that belong together, such as train and val.

    Rows are kept unchanged, but for the paths of images and, of several files, the ids.

    Args:
        files: at least one.
        top: folder that the images are below; None looks near each file.
        images: folder of the images, if it is given.
        log: of images without a file and annotations without an image.

    Raises:
        FileNotFoundError: if no image is found.
        ValueError: if a file is not COCO's, or if files disagree about categories.
    """
    parts = [_read_one(file, top, images, log) for file in files]
    common = Path(os.path.commonpath([part.folder.resolve() for part in parts]))
    categories = _merge_categories(parts)
    rows: list[Row] = []
    annotations: list[Row] = []
    splits: dict[str, str] = {}
    for part in parts if len(parts) == 1 else _renumber(parts):
        prefix = part.folder.resolve().relative_to(common)
        names = ((prefix / row["file_name"]).as_posix() for row in part.images)
        rows += [row | {"file_name": name} for row, name in zip(part.images, names, strict=True)]
        annotations += part.annotations
        splits |= part.splits
    return SourceDataset(
        COCO_FORMAT, tuple(files), parts[0].info, categories, rows, annotations, common, splits
    )


def load_json(file: Path) -> Any:
    """Parse a JSON file."""
    data = file.read_bytes()
    try:
        if data.startswith(_GZIP):
            most = _MAX_EXPANSION * len(data)
            with gzip.open(file) as packed:
                data = packed.read(most + 1)
            if len(data) > most:
                raise ValueError(f"it unpacks to more than {_MAX_EXPANSION} times its size")
        return json.loads(data)
    except (ValueError, RecursionError, EOFError, OSError) as error:
        raise ValueError(f"{file} is not a whole JSON file: {error}; export it again") from error


def _check_rows(rows: list[Any], key: str, file: Path) -> list[Row]:
    """A list of objects."""
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"{file}: {key}[{place}] is {row!r}, not an object")
    return rows


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str)


def _read_one(file: Path, top: Path | None, images: Path | None, log: DropLog) -> SourceDataset:
    """Read one file, and find its images."""
    content = load_coco_json(file)
    names = [row["file_name"] for row in content["images"]]
    if not names:
        raise ValueError(f"{file} has no images; is this the right file?")
    above = [file.parent, *([top] if top else [file.parent.parent])]
    folder = find_image_folder(names, file, [images] if images else list(dict.fromkeys(above)))
    kept = []
    for row in content["images"]:
        name = find_in_folder(folder, row["file_name"])
        if name is None:
            log.add("images without a file", row["file_name"])
        else:
            kept.append(row | {"file_name": name})
    split = split_of(file.relative_to(top)) if top else split_of(Path(file.name))
    info = content.get("info")
    ids = {id_key(row["id"]): split or "" for row in kept}
    return SourceDataset(
        COCO_FORMAT,
        (file,),
        info if isinstance(info, dict) else {},
        content["categories"],
        kept,
        _keep_annotations_of(content["annotations"], ids, log),
        folder,
        ids if split else {},
    )


def _keep_annotations_of(rows: Sequence[Row], ids: Container[str], log: DropLog) -> list[Row]:
    """The annotations of images that are there."""
    kept = []
    for place, row in enumerate(rows):
        if id_key(row.get("image_id")) in ids:
            kept.append(row)
        else:
            log.add("annotations of images that are not there", f"id {row.get('id', place)}")
    return kept


def _renumber(parts: Sequence[SourceDataset]) -> list[SourceDataset]:
    """Parts of one data set with ids that differ between them."""
    renumbered, images, people = [], 0, 0
    for part in parts:
        new = {id_key(row["id"]): images + n for n, row in enumerate(part.images, 1)}
        renumbered.append(
            part._replace(
                images=[row | {"id": new[id_key(row["id"])]} for row in part.images],
                annotations=[
                    row | {"id": people + n, "image_id": new[id_key(row["image_id"])]}
                    for n, row in enumerate(part.annotations, 1)
                ],
                splits={id_key(new[old]): split for old, split in part.splits.items()},
            )
        )
        images, people = images + len(part.images), people + len(part.annotations)
    return renumbered


def _merge_categories(parts: Sequence[SourceDataset]) -> list[Row]:
    """The categories of files that belong together."""
    first, *others = parts
    for other in others:
        for mine, its in zip(first.categories, other.categories, strict=False):
            same = mine.get("id") == its.get("id") and keypoint_names(mine) == keypoint_names(its)
            if not same:
                raise ValueError(
                    f"{other.files[0]} and {first.files[0]} differ in category "
                    f"{mine.get('name')!r} or its keypoints; split them one by one"
                )
    return max((part.categories for part in parts), key=len)
