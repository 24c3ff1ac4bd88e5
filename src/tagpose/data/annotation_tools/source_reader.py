"""Reader of an annotation tool's export in any supported format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tagpose.data.annotation_tools.coco_reader import is_coco, load_json, read_coco_export
from tagpose.data.annotation_tools.source_dataset import (
    DropLog,
    Row,
    SourceDataset,
    choose_category,
    id_key,
    is_in_category,
)
from tagpose.data.annotation_tools.yolo_config import (
    YoloPoseConfig,
    find_yolo_config,
    guess_yolo_config,
    has_yolo_labels,
    read_yolo_config,
)
from tagpose.data.annotation_tools.yolo_reader import read_yolo_export

_YAML: Final = (".yaml", ".yml")


def read_source(
    path: Path,
    log: DropLog,
    *,
    images: Path | None = None,
    category: str | None = None,
    keypoints: Sequence[str] | None = None,
) -> SourceDataset:
    """Read a COCO file, a folder with COCO files, or a YOLO-pose folder or its `data.yaml`.

    Args:
        path: file or folder; archives must be extracted first.
        log: log of dropped rows and files.
        images: image folder of COCO files, if it cannot be found.
        category: name or id of the category to keep; None keeps the only one with keypoints.
        keypoints: [K] names that replace those of the source.

    Raises:
        FileNotFoundError: the source or its images are missing.
        ValueError: the source has no supported format or is inconsistent.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; set source=PATH to a JSON file, a folder or a zip file"
        )
    root = path.parent if path.suffix.lower() in _YAML else path
    if root.is_file():
        source = read_coco_export([root], None, images, log)
    elif config := _find_yolo_config(root, keypoints):
        source = read_yolo_export(root, config, log)
    else:
        source = read_coco_export(_find_coco_files(root), root, images, log)
    return _keep_category(_rename_keypoints(source, category, keypoints), category, log)


def _find_yolo_config(root: Path, keypoints: Sequence[str] | None) -> YoloPoseConfig | None:
    """Return the format of a folder's YOLO labels, None if it has none."""
    file = find_yolo_config(root)
    if file:
        return read_yolo_config(file, keypoints)
    return guess_yolo_config(root, keypoints) if keypoints else None


def _find_coco_files(root: Path) -> list[Path]:
    """Return the COCO keypoint files below a folder.

    Raises:
        ValueError: there is none; the message describes the files that exist.
    """
    contents = {file: load_json(file) for file in sorted(root.rglob("*.json*")) if file.is_file()}
    coco_files = [file for file, content in contents.items() if is_coco(content)]
    files = [file for file in coco_files if _has_keypoints(contents[file])] or coco_files
    if not files:
        raise ValueError(_describe_missing_annotations(root, len(contents)))
    return files


def _describe_missing_annotations(root: Path, num_json_files: int) -> str:
    """Return the error message for a folder without readable annotations."""
    if has_yolo_labels(root):
        return (
            f"{root} has YOLO labels, but no data.yaml with kpt_shape; add one, or specify the "
            "names of all keypoints in order with keypoints=[NAME,...]"
        )
    return (
        f"{root} has {num_json_files} JSON files, none with lists of images and annotations, and "
        "no YOLO labels; export as COCO keypoints or as YOLO pose"
    )


def _has_keypoints(content: Any) -> bool:
    """Return whether any annotation of a COCO file has keypoints."""
    rows = content["annotations"]
    return any(isinstance(row, dict) and row.get("keypoints") for row in rows)


def _rename_keypoints(
    source: SourceDataset, category: str | None, names: Sequence[str] | None
) -> SourceDataset:
    """Return the source with new keypoint names in the selected category."""
    if not names:
        return source
    rows = source.categories or [{"id": 1, "name": "object"}]
    matches = [row for row in rows if category in (None, str(row.get("name")), str(row.get("id")))]
    if len(matches) != 1:
        raise ValueError(
            f"keypoints=[...] renames the keypoints of one category; choose one of "
            f"{', '.join(str(row.get('name')) for row in rows)} with category=NAME"
        )
    renamed = matches[0] | {"keypoints": [str(name) for name in names]}
    return source._replace(categories=[renamed if row is matches[0] else row for row in rows])


def _keep_category(source: SourceDataset, requested: str | None, log: DropLog) -> SourceDataset:
    """Return the source with the annotations of one category only."""
    category = choose_category(source.categories, source.annotations, requested, source.files[0])
    if category is None:
        return source
    kept: list[Row] = []
    for row in source.annotations:
        if is_in_category(row, category):
            kept.append(row)
        else:
            name = _category_name(row.get("category_id"), source.categories)
            log.add(f"annotations of other categories than {category.get('name')!r}", name)
    if not kept:
        raise ValueError(
            f"{source.files[0]} has no annotation of {category.get('name')!r}; choose another "
            "category=NAME"
        )
    return source._replace(annotations=kept, categories=[category])


def _category_name(category_id: object, categories: Sequence[Row]) -> str:
    """Return the name of a category, or its id if it is not listed."""
    names = (row.get("name") for row in categories if id_key(row.get("id")) == id_key(category_id))
    return str(next(names, category_id))
