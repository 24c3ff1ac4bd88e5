"""Reader of an annotation tool's export in any supported format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tagpose.data.annotation_tools.coco_reader import (
    find_coco_files,
    find_json_files,
    read_coco_export,
)
from tagpose.data.annotation_tools.source_categories import keep_category, rename_keypoints
from tagpose.data.annotation_tools.source_dataset import DropLog, SourceDataset
from tagpose.data.annotation_tools.yolo_reader import (
    YoloPoseConfig,
    find_yolo_config,
    guess_yolo_config,
    has_yolo_labels,
    read_yolo_config,
    read_yolo_export,
)

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
    elif files := find_coco_files(root):
        source = read_coco_export(files, root, images, log)
    else:
        raise ValueError(_describe_missing_annotations(root))
    return keep_category(rename_keypoints(source, category, keypoints), category, log)


def _find_yolo_config(root: Path, keypoints: Sequence[str] | None) -> YoloPoseConfig | None:
    """Return the format of a folder's YOLO labels, None if it has none."""
    file = find_yolo_config(root)
    if file:
        return read_yolo_config(file, keypoints)
    return guess_yolo_config(root, keypoints) if keypoints else None


def _describe_missing_annotations(root: Path) -> str:
    """Return the error message for a folder without readable annotations."""
    if has_yolo_labels(root):
        return (
            f"{root} has YOLO labels, but no data.yaml with kpt_shape; add one, or specify the "
            "names of all keypoints in order with keypoints=[NAME,...]"
        )
    count = len(find_json_files(root))
    return (
        f"{root} has {count} JSON files, none with lists of images and annotations, and no YOLO "
        "labels; export as COCO keypoints or as YOLO pose"
    )
