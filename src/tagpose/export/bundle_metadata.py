"""Metadata of an exported network: everything that a program needs in order to use it."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tagpose.export.decoder_options import decoder_to_dict
from tagpose.models.network import PoseNetwork
from tagpose.provenance import fingerprint
from tagpose.skeletons.skeleton import Skeleton

_PACKAGES: Final = (
    "tagpose",
    "torch",
    "timm",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "numba",
    "numpy",
    "scipy",
)


class ExportSpec(NamedTuple):
    """A network to export and its test-time options."""

    network: PoseNetwork
    checkpoint: Path  # file of the network's weights
    decoder: AssociativeEmbeddingDecoder
    input_size: int  # shorter side of the input, input pixels
    flip_test: bool  # whether the flip test is part of the exported network
    license: str  # terms under which the weights may be used


def build_metadata(spec: ExportSpec) -> dict[str, Any]:
    """Return the metadata as plain lists, names and numbers, for JSON."""
    strides = spec.network.strides
    return {
        "architecture": spec.network.architecture,
        "skeleton": _skeleton_to_dict(spec.network.skeleton),
        "input_size": spec.input_size,
        "stride": strides[0],
        "heatmap_stride": strides[-1],
        "flip_test": spec.flip_test,
        "decoder": decoder_to_dict(spec.decoder),
        "normalization": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "inside_network": True},
        "license": spec.license,
        "checkpoint": fingerprint(spec.checkpoint) | {"file": spec.checkpoint.name},
        "versions": {package: version(package) for package in _PACKAGES},
    }


def _skeleton_to_dict(skeleton: Skeleton) -> dict[str, Any]:
    """Return a skeleton for JSON; parts are half-open ranges of keypoints."""
    parts = {part: [at.start, at.stop] for part, at in skeleton.parts.items()}
    return {
        "name": skeleton.name,
        "keypoints": skeleton.keypoints,
        "flip_indices": skeleton.flip_indices,
        "bones": skeleton.bones,
        "sigmas": skeleton.sigmas,
        "parts": parts,
    }
