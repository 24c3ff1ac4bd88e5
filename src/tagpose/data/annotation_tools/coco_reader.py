"""Reader of COCO keypoint files as annotation tools export them."""

import gzip
import json
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Final

from tagpose.data.annotation_tools.source_dataset import DropLog, Row, SourceDataset, id_key
from tagpose.data.coco_categories import keypoint_names
from tagpose.data.coco_fields import to_posix_path
from tagpose.data.folder_matching import find_image_folder
from tagpose.data.image_files import ImageFolder
from tagpose.data.split_paths import split_of

COCO_FORMAT: Final = "COCO keypoints"
_GZIP: Final = b"\x1f\x8b"
_MAX_EXPANSION: Final = 200  # of a gzipped file; annotations compress to about a tenth


def load_coco_json(file: Path) -> Row:
    """Load and check a COCO file, which may be gzipped.

    Args:
        file: JSON file in any Unicode encoding.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON, or has no valid lists of images and annotations.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; specify the annotation file of the export")
    content = load_json(file)
    if not is_coco(content):
        raise ValueError(
            f"{file} has no lists of images and annotations; export it as COCO keypoints"
        )
    content["categories"] = _check_rows(content.get("categories") or [], "categories", file)
    for name in ("images", "annotations"):
        _check_rows(content[name], name, file)
    for index, image in enumerate(content["images"]):
        if not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
            raise ValueError(
                f"{file}: images[{index}] has no valid id or file_name; export it again"
            )
    return content


def is_coco(content: object) -> bool:
    """Return whether a JSON value has the lists of a COCO file."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    )


def read_coco_export(
    files: Sequence[Path], root: Path | None, images: Path | None, log: DropLog
) -> SourceDataset:
    """Read COCO files of one dataset, such as train and val.

    Rows are not changed, except paths of images and, if there are several files, ids.

    Args:
        files: at least one COCO file.
        root: folder that contains the images; None searches near each file.
        images: folder of the images, if it is known.
        log: log of images without a file and annotations without an image.

    Raises:
        FileNotFoundError: no image is found.
        ValueError: a file is not a COCO file, or the categories of two files differ.
    """
    parts = [_read_file(file, root, images, log) for file in files]
    common = Path(os.path.commonpath([part.folder.resolve() for part in parts]))
    categories = _merge_categories(parts)
    rows: list[Row] = []
    annotations: list[Row] = []
    splits: dict[str, str] = {}
    for part in parts if len(parts) == 1 else _renumber(parts):
        prefix = part.folder.resolve().relative_to(common)
        rows += [row | {"file_name": (prefix / row["file_name"]).as_posix()} for row in part.images]
        annotations += part.annotations
        splits |= part.splits
    return SourceDataset(
        COCO_FORMAT, tuple(files), parts[0].info, categories, rows, annotations, common, splits
    )


def load_json(file: Path) -> Any:
    """Parse a JSON file, which may be gzipped.

    Raises:
        ValueError: it is not complete JSON.
    """
    data = file.read_bytes()
    try:
        if data.startswith(_GZIP):
            max_size = _MAX_EXPANSION * len(data)
            with gzip.open(file) as stream:
                data = stream.read(max_size + 1)
            if len(data) > max_size:
                raise ValueError(f"it expands to more than {_MAX_EXPANSION} times its size")
        return json.loads(data)
    except (ValueError, RecursionError, EOFError, OSError) as error:
        raise ValueError(f"{file} is not a valid JSON file: {error}; export it again") from error


def find_coco_files(root: Path) -> list[Path]:
    """Return the COCO files below a folder that have keypoints, or all COCO files if none has."""
    contents = {file: load_json(file) for file in find_json_files(root)}
    coco_files = [file for file, content in contents.items() if is_coco(content)]
    return [file for file in coco_files if _has_keypoints(contents[file])] or coco_files


def find_json_files(root: Path) -> list[Path]:
    """Return the JSON files below a folder."""
    return [file for file in sorted(root.rglob("*.json*")) if file.is_file()]


def _check_rows(rows: list[Any], key: str, file: Path) -> list[Row]:
    """Check that a list has JSON objects only, and return it."""
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(
                f"{file}: {key}[{index}] is {row!r}, expected an object; export it again"
            )
    return rows


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str)


def _read_file(file: Path, root: Path | None, images: Path | None, log: DropLog) -> SourceDataset:
    """Read one COCO file and find its images."""
    content = load_coco_json(file)
    names = [row["file_name"] for row in content["images"]]
    if not names:
        raise ValueError(f"{file} has no images; check that it is the right file")
    parents = [file.parent, root or file.parent.parent]
    folder = find_image_folder(names, file, [images] if images else list(dict.fromkeys(parents)))
    rows, image_folder = [], ImageFolder(folder)
    for row in content["images"]:
        name = image_folder.find(to_posix_path(row["file_name"]))
        if name is None:
            log.add("images without a file", row["file_name"])
        else:
            rows.append(row | {"file_name": name})
    split = split_of(file.relative_to(root)) if root else split_of(Path(file.name))
    info = content.get("info")
    ids = {id_key(row["id"]): split or "" for row in rows}
    return SourceDataset(
        COCO_FORMAT,
        (file,),
        info if isinstance(info, dict) else {},
        content["categories"],
        rows,
        _keep_annotations_of(content["annotations"], ids, log),
        folder,
        ids if split else {},
    )


def _keep_annotations_of(
    annotations: Sequence[Row], image_ids: Container[str], log: DropLog
) -> list[Row]:
    """Return the annotations of existing images."""
    kept = []
    for index, row in enumerate(annotations):
        if id_key(row.get("image_id")) in image_ids:
            kept.append(row)
        else:
            log.add("annotations of missing images", f"id {row.get('id', index)}")
    return kept


def _renumber(parts: Sequence[SourceDataset]) -> list[SourceDataset]:
    """Return the parts of one dataset with ids that are unique across parts."""
    renumbered, num_images, num_annotations = [], 0, 0
    for part in parts:
        new_ids = {id_key(row["id"]): num_images + n for n, row in enumerate(part.images, 1)}
        renumbered.append(
            part._replace(
                images=[row | {"id": new_ids[id_key(row["id"])]} for row in part.images],
                annotations=[
                    row | {"id": num_annotations + n, "image_id": new_ids[id_key(row["image_id"])]}
                    for n, row in enumerate(part.annotations, 1)
                ],
                splits={id_key(new_ids[old]): split for old, split in part.splits.items()},
            )
        )
        num_images += len(part.images)
        num_annotations += len(part.annotations)
    return renumbered


def _merge_categories(parts: Sequence[SourceDataset]) -> list[Row]:
    """Return the common categories of several files."""
    first, *others = parts
    for other in others:
        for a, b in zip(first.categories, other.categories, strict=False):
            if a.get("id") != b.get("id") or keypoint_names(a) != keypoint_names(b):
                raise ValueError(
                    f"{other.files[0]} and {first.files[0]} differ in category {a.get('name')!r} "
                    "or its keypoints; split them separately"
                )
    return max((part.categories for part in parts), key=len)


def _has_keypoints(content: Any) -> bool:
    """Return whether any annotation of a COCO file has keypoints."""
    rows = content["annotations"]
    return any(isinstance(row, dict) and row.get("keypoints") for row in rows)
