"""Network outputs cached in a folder, so that decoder options are tuned without the network.

A folder contains one safetensors file per image, and manifest.json, which is written last and
describes them.
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
    """Network outputs for one image, and the affine to the network's input."""

    image_id: int
    keypoint_maps: KeypointMaps  # of a batch of 1
    affine: Tensor  # [1, 2, 3] float64: image pixels -> input pixels


class CacheManifest(NamedTuple):
    """Description of a folder of cached outputs."""

    title: str  # dataset; printed with every table of scores
    skeleton: Skeleton
    ground_truth: Path  # annotation file for the evaluation
    image_ids: tuple[int, ...]
    provenance: Mapping[str, Any]  # for JSON: checkpoint, test-time settings, versions
    subpixel: bool = False  # whether the network was trained with sub-pixel targets
    tag_sharing: str = TAG_PER_KEYPOINT  # how keypoints share tag maps; see `Skeleton.tag_index`


def write_cached_output(folder: Path, output: CachedOutput) -> Path:
    """Write the outputs for one image atomically, and return the file.

    Outputs are stored in half precision: float32 takes twice the space, 35 MB per image of the
    published whole-body test, and changes the whole-body AP by 0.002 and the AP of a part by at
    most 0.005 (200 synthetic images). Comparisons of thresholds are affected less, because all of
    them use the same outputs.

    Raises:
        ValueError: if a value is not finite in half precision, whose maximum is 65504.
    """
    keypoint_maps = KeypointMaps(
        *(tensor[0].half().cpu().contiguous() for tensor in output.keypoint_maps)
    )
    if not all(bool(tensor.isfinite().all()) for tensor in keypoint_maps):
        raise ValueError(
            f"image {output.image_id}: the network outputs contain NaN or values beyond half "
            "precision; check whether the training diverged"
        )
    file = _output_file(folder, output.image_id)
    with atomic_write(file) as partial:
        # not save_file, which creates files that other users cannot read
        partial.write_bytes(
            save({**keypoint_maps._asdict(), "affine": output.affine[0].contiguous()})
        )
    return file


def read_cached_output(folder: Path, image_id: int, device: str = "cpu") -> CachedOutput:
    """Read the outputs for one image, in half precision.

    Args:
        folder: folder of cached outputs.
        image_id: id of the image.
        device: device to load the tensors to.

    Raises:
        ValueError: if the file is missing or truncated.
    """
    file = _output_file(folder, image_id)
    try:
        tensors = load_file(file, device)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{file} is missing or truncated ({error}); run `tagpose cache_outputs` again"
        ) from error
    tensors = {name: tensor[None] for name, tensor in tensors.items()}
    return CachedOutput(
        image_id, KeypointMaps(tensors["heatmaps"], tensors["tags"]), tensors["affine"]
    )


def write_manifest(folder: Path, manifest: CacheManifest) -> None:
    """Write the description of a folder, after the outputs for all images."""
    content = {
        "skeleton": skeleton_to_dict(manifest.skeleton),
        "ground_truth": str(manifest.ground_truth),
    }
    write_json(folder / _MANIFEST, manifest._asdict() | content)


def read_manifest(folder: Path) -> CacheManifest:
    """Read the description of a folder.

    Raises:
        FileNotFoundError: if the manifest is missing because caching did not finish.
        ValueError: if the manifest was not written by `write_manifest`.
    """
    file = folder / _MANIFEST
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing because caching did not finish; "
            f"run `tagpose cache_outputs checkpoint=FILE output={folder}`"
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
            f"{file} is not a manifest of cached outputs ({error}); run `tagpose cache_outputs` "
            "again"
        ) from error


def _output_file(folder: Path, image_id: int) -> Path:
    """Return the file of an image's outputs, which is numbered like COCO's images."""
    return folder / f"{image_id:012d}.safetensors"
