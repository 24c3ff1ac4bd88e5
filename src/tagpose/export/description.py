"""Metadata of an exported network: everything that a program needs to know to use it."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from tagpose.codec.decoder import AssociativeEmbeddingDecoder
from tagpose.evaluation.provenance import fingerprint
from tagpose.export.metadata import decoder_to_dict
from tagpose.model.network import MEAN, STD, PoseNetwork
from tagpose.skeleton import Skeleton

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


class Exported(NamedTuple):
    """A network to export, and the options with which it is used."""

    network: PoseNetwork
    checkpoint: Path  # file of the network's weights
    decoder: AssociativeEmbeddingDecoder
    side: int  # shorter side of the input, input pixels
    mirror: bool  # whether the flip test is part of the exported network
    licence: str  # terms under which the weights may be used


def description(exported: Exported) -> dict[str, Any]:
    """Return the metadata as plain lists, names and numbers, for JSON."""
    strides = exported.network.strides
    return {
        "architecture": exported.network.architecture,
        "skeleton": _skeleton(exported.network.skeleton),
        "side": exported.side,
        "stride": strides[0],
        "heatmap_stride": strides[-1],
        "mirror_test": exported.mirror,
        "decoder": decoder_to_dict(exported.decoder),
        "normalisation": {"mean": MEAN, "std": STD, "inside_network": True},
        "licence": exported.licence,
        "checkpoint": fingerprint(exported.checkpoint) | {"file": exported.checkpoint.name},
        "versions": {package: version(package) for package in _PACKAGES},
    }


def _skeleton(skeleton: Skeleton) -> dict[str, Any]:
    """Return a skeleton; each part has its first keypoint and the one after its last."""
    parts = {part: [at.start, at.stop] for part, at in skeleton.parts.items()}
    return {
        "name": skeleton.name,
        "keypoints": skeleton.keypoints,
        "mirror": skeleton.mirror,
        "bones": skeleton.bones,
        "sigmas": skeleton.sigmas,
        "parts": parts,
    }
