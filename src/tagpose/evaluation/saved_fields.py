"""This file keeps the fields of images in a folder, so that they are decoded without the network.

A folder has a file for each image, and fields.json, which is written last and says what they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from tagpose.evaluation.rows import write_json
from tagpose.own_skeleton import defined, definition
from tagpose.skeleton import KEYPOINT, Skeleton
from tagpose.structures import Fields
from tagpose.writing import whole

_CONTENTS: Final = "fields.json"


class SavedFields(NamedTuple):
    """The fields of one image, and where the image lay in the network's input."""

    image_id: int
    fields: Fields  # of a batch of 1
    frame: Tensor  # [1, 2, 3] float64: image pixels -> input pixels


class Contents(NamedTuple):
    """What a folder of saved fields is of."""

    title: str  # says what data they are of; scores are never shown without it
    skeleton: Skeleton
    truth: Path  # the annotations that people are judged by
    image_ids: tuple[int, ...]
    made_by: Mapping[str, Any]  # for JSON: the checkpoint, its test, the versions
    sub_cell: bool = False  # whether their peaks stand between the cells
    tags: str = KEYPOINT  # how keypoints share tag maps; see `Skeleton.tag_index`


def write_fields(folder: Path, saved: SavedFields) -> Path:
    """Write the fields of an image into its file, whole or not at all; returns the file.

    In half precision: float32 takes twice the room, 35 MB an image of the published whole-body
    test, and moves AP of the whole by 0.002, of a part by 0.005 at most (200 drawn images); between
    thresholds, all of which have the same fields, that counts less.

    Raises:
        ValueError: a number is not finite in half precision, whose largest is 65504.
    """
    fields = Fields(*(each[0].half().cpu().contiguous() for each in saved.fields))
    if not all(bool(each.isfinite().all()) for each in fields):
        raise ValueError(
            f"image {saved.image_id}: its fields hold NaN or numbers beyond half precision; has the"
            " network diverged?"
        )
    with whole(_file(folder, saved.image_id)) as partial:
        # not save_file, whose files nobody else may read
        partial.write_bytes(save({**fields._asdict(), "frame": saved.frame[0].contiguous()}))
    return _file(folder, saved.image_id)


def read_fields(folder: Path, image_id: int, device: str = "cpu") -> SavedFields:
    """The fields of an image, in half precision.

    Args:
        folder: that has them.
        image_id: of the image.
        device: to bring them to.

    Raises:
        ValueError: the file is missing or not whole.
    """
    file = _file(folder, image_id)
    try:
        tensors = load_file(file, device)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{file} does not hold the fields of an image ({error}); save them again"
        ) from error
    tensors = {name: tensor[None] for name, tensor in tensors.items()}
    return SavedFields(image_id, Fields(tensors["heatmaps"], tensors["tags"]), tensors["frame"])


def write_contents(folder: Path, contents: Contents) -> None:
    """Say what a folder is of, once all its images are there."""
    said = {"skeleton": definition(contents.skeleton), "truth": str(contents.truth)}
    write_json(folder / _CONTENTS, contents._asdict() | said)


def read_contents(folder: Path) -> Contents:
    """What a folder is of.

    Raises:
        FileNotFoundError: it does not say so, as its writing did not end.
        ValueError: it says so in other words than `write_contents`.
    """
    file = folder / _CONTENTS
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing, which is written when all fields are; "
            f"`make fields checkpoint=FILE output={folder}` saves them"
        )
    try:
        said = json.loads(file.read_bytes())
        changed = {
            "skeleton": defined(**said["skeleton"]),
            "truth": Path(said["truth"]),
            "image_ids": tuple(said["image_ids"]),
        }
        return Contents(**(said | changed))
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"{file} is not what `make fields` writes ({error}); save the fields again"
        ) from error


def _file(folder: Path, image_id: int) -> Path:
    """Where the fields of an image lie; ids are as in COCO's file names."""
    return folder / f"{image_id:012d}.safetensors"
