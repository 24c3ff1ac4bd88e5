"""This file keeps the fields of images in a folder, so that they are decoded without the network.

A folder has a file for each image, and manifest.json, which is written last and says what they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from tagpose.io import atomic_write, write_json
from tagpose.skeletons.custom import build_skeleton, skeleton_to_dict
from tagpose.skeletons.skeleton import TAG_PER_KEYPOINT, Skeleton
from tagpose.structures import KeypointMaps

_MANIFEST: Final = "manifest.json"


class CachedOutput(NamedTuple):
    """The fields of one image, and where the image lay in the network's input."""

    image_id: int
    keypoint_maps: KeypointMaps  # of a batch of 1
    affine: Tensor  # [1, 2, 3] float64: image pixels -> input pixels


class CacheManifest(NamedTuple):
    """What a folder of cached outputs is of."""

    title: str  # says what data they are of; scores are never shown without it
    skeleton: Skeleton
    ground_truth: Path  # the annotations that people are judged by
    image_ids: tuple[int, ...]
    provenance: Mapping[str, Any]  # for JSON: the checkpoint, its test, the versions
    subpixel: bool = False  # whether their peaks stand at sub-pixel positions
    tag_sharing: str = TAG_PER_KEYPOINT  # how keypoints share tag maps; see `Skeleton.tag_index`


def write_cached_output(folder: Path, output: CachedOutput) -> Path:
    """Write the fields of an image into its file, whole or not at all; returns the file.

    In half precision: float32 takes twice the room, 35 MB an image of the published whole-body
    test, and moves AP of the whole by 0.002, of a part by 0.005 at most (200 drawn images); between
    thresholds, all of which have the same keypoint_maps, that counts less.

    Raises:
        ValueError: a number is not finite in half precision, whose largest is 65504.
    """
    keypoint_maps = KeypointMaps(
        *(each[0].half().cpu().contiguous() for each in output.keypoint_maps)
    )
    if not all(bool(each.isfinite().all()) for each in keypoint_maps):
        raise ValueError(
            f"image {output.image_id}: its fields hold NaN or numbers beyond half precision; has the"
            " network diverged?"
        )
    with atomic_write(_output_file(folder, output.image_id)) as partial:
        # not save_file, whose files nobody else may read
        partial.write_bytes(
            save({**keypoint_maps._asdict(), "affine": output.affine[0].contiguous()})
        )
    return _output_file(folder, output.image_id)


def read_cached_output(folder: Path, image_id: int, device: str = "cpu") -> CachedOutput:
    """The fields of an image, in half precision.

    Args:
        folder: that has them.
        image_id: of the image.
        device: to bring them to.

    Raises:
        ValueError: the file is missing or not whole.
    """
    file = _output_file(folder, image_id)
    try:
        tensors = load_file(file, device)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{file} does not hold the fields of an image ({error}); save them again"
        ) from error
    tensors = {name: tensor[None] for name, tensor in tensors.items()}
    return CachedOutput(
        image_id, KeypointMaps(tensors["heatmaps"], tensors["tags"]), tensors["affine"]
    )


def write_manifest(folder: Path, manifest: CacheManifest) -> None:
    """Say what a folder is of, once all its images are there."""
    content = {
        "skeleton": skeleton_to_dict(manifest.skeleton),
        "ground_truth": str(manifest.ground_truth),
    }
    write_json(folder / _MANIFEST, manifest._asdict() | content)


def read_manifest(folder: Path) -> CacheManifest:
    """What a folder is of.

    Raises:
        FileNotFoundError: it does not say so, as its writing did not end.
        ValueError: it says so in other words than `write_manifest`.
    """
    file = folder / _MANIFEST
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing, which is written when all fields are; "
            f"`make cache_outputs checkpoint=FILE output={folder}` saves them"
        )
    try:
        content = json.loads(file.read_bytes())
        parsed = {
            "skeleton": build_skeleton(**content["skeleton"]),
            "ground_truth": Path(content["ground_truth"]),
            "image_ids": tuple(content["image_ids"]),
        }
        return CacheManifest(**(content | parsed))
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"{file} is not what `make cache_outputs` writes ({error}); save the fields again"
        ) from error


def _output_file(folder: Path, image_id: int) -> Path:
    """Where the fields of an image lie; ids are as in COCO's file names."""
    return folder / f"{image_id:012d}.safetensors"
