"""Search for the val annotations, the images and the name of a data set, given a train file."""

from pathlib import Path
from typing import Final

from tagpose.data.annotation_tools.coco_reader import load_coco_json
from tagpose.data.annotation_tools.config_writer import SplitPaths
from tagpose.data.annotation_tools.image_folder_search import find_image_folder
from tagpose.data.annotation_tools.skeleton_draft import to_identifier

_VAL_NAMES: Final = ("val", "valid", "validation")
_COCO_FOLDER: Final = "annotations"  # folder of annotations in COCO's layout


def locate_split(file: Path, images: str | None) -> SplitPaths:
    """Return an annotation file with its image folder.

    Args:
        file: COCO JSON.
        images: folder of the images; None searches near the file.

    Raises:
        ValueError: the file lists no images.
    """
    names = [row["file_name"] for row in load_coco_json(file)["images"]]
    if not names:
        raise ValueError(f"{file} lists no images; check annotations= and val_annotations=")
    folders = [Path(images)] if images else [file.parent, file.resolve().parent.parent]
    return SplitPaths(file, find_image_folder(names, file, folders))


def find_val_file(file: Path) -> Path | None:
    """Return the val file that belongs to a train file, if there is one.

    It differs in train and val in its own name (COCO) or in that of its folder (Roboflow).
    """
    folder, name = file.resolve().parent, file.name
    siblings = [file.parent / name.replace("train", val) for val in _VAL_NAMES]
    cousins = [folder.with_name(folder.name.replace("train", val)) / name for val in _VAL_NAMES]
    existing = (path for path in (*siblings, *cousins) if path.is_file())
    return next((path for path in existing if path.resolve() != file.resolve()), None)


def dataset_name(file: Path) -> str:
    """Return a name for the data set of an annotation file, that of its folder."""
    folder = file.resolve().parent
    return to_identifier(folder.parent.name if folder.name == _COCO_FOLDER else folder.name)
