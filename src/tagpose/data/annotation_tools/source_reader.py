"""Recognise what an annotation tool exported, and read it."""

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
        path: file or folder; archives are unpacked before.
        log: of what is left out.
        images: folder of the images of COCO files, if it cannot be found.
        category: whose annotations are kept; None keeps those of the only one with keypoints.
        keypoints: [K] names in place of those in the source.

    Raises:
        FileNotFoundError: if the source or its images are missing.
        ValueError: if nothing there can be read, or if it contradicts itself.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; source=PATH names a JSON, a folder or a zip")
    root = path.parent if path.suffix.lower() in _YAML else path
    if root.is_file():
        source = read_coco_export([root], None, images, log)
    elif config := _find_yolo_config(root, keypoints):
        source = read_yolo_export(root, config, log)
    else:
        source = read_coco_export(_find_coco_files(root), root, images, log)
    return _keep_category(_rename_keypoints(source, category, keypoints), category, log)


def _find_yolo_config(root: Path, keypoints: Sequence[str] | None) -> YoloPoseConfig | None:
    """Return the contents of a folder's YOLO labels, if it has any."""
    file = find_yolo_config(root)
    if file:
        return read_yolo_config(file, keypoints)
    return guess_yolo_config(root, keypoints) if keypoints else None


def _find_coco_files(root: Path) -> list[Path]:
    """The COCO keypoint files below a folder.

    Raises:
        ValueError: if there is none; the message says what there is.
    """
    found = [(file, load_json(file)) for file in sorted(root.rglob("*.json*")) if file.is_file()]
    coco = {file: content for file, content in found if is_coco(content)}
    files = [file for file, content in coco.items() if _has_keypoints(content)] or list(coco)
    if not files:
        raise ValueError(_describe_missing_annotations(root, len(found)))
    return files


def _describe_missing_annotations(root: Path, files: int) -> str:
    """Describe a folder without readable annotations, for an error message."""
    if has_yolo_labels(root):
        return (
            f"{root} has labels of YOLO, but no data.yaml with kpt_shape; add one, or give the "
            "names of all keypoints in their order by keypoints=[NAME,...]"
        )
    return (
        f"{root} has {files} JSON files, none with lists of images and annotations, and no labels "
        "of YOLO; export as COCO keypoints or as YOLO pose"
    )


def _has_keypoints(content: Any) -> bool:
    """Whether any annotation of a COCO file has keypoints."""
    rows = content["annotations"]
    return any(isinstance(row, dict) and row.get("keypoints") for row in rows)


def _rename_keypoints(
    source: SourceDataset, category: str | None, names: Sequence[str] | None
) -> SourceDataset:
    """The source with other names of keypoints in the category that they are for."""
    if not names:
        return source
    rows = source.categories or [{"id": 1, "name": "object"}]
    wanted = [row for row in rows if category in (None, str(row.get("name")), str(row.get("id")))]
    if len(wanted) != 1:
        raise ValueError(
            f"keypoints=[...] are names for one category; choose it by category=NAME of "
            f"{', '.join(str(row.get('name')) for row in rows)}"
        )
    new = wanted[0] | {"keypoints": [str(name) for name in names]}
    return source._replace(categories=[new if row is wanted[0] else row for row in rows])


def _keep_category(source: SourceDataset, wanted: str | None, log: DropLog) -> SourceDataset:
    """The source with the annotations of one category."""
    chosen = choose_category(source.categories, source.annotations, wanted, source.files[0])
    if chosen is None:
        return source
    kept: list[Row] = []
    for row in source.annotations:
        if is_in_category(row, chosen):
            kept.append(row)
        else:
            name = _category_name(row.get("category_id"), source.categories)
            log.add(f"annotations of other categories than {chosen.get('name')!r}", name)
    if not kept:
        raise ValueError(f"{source.files[0]} has no annotation of {chosen.get('name')!r}")
    return source._replace(annotations=kept, categories=[chosen])


def _category_name(category_id: object, categories: Sequence[Row]) -> str:
    """The name of a category for messages."""
    named = (row.get("name") for row in categories if id_key(row.get("id")) == id_key(category_id))
    return str(next(named, category_id))
