"""This file says of an exported network what a program must know to use it."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from tagpose.codec.decode import Decoder
from tagpose.evaluation.provenance import fingerprint
from tagpose.model.network import MEAN, STD, PoseNetwork
from tagpose.skeleton import Skeleton

_PACKAGES: Final = (
    "tagpose",
    "torch",
    "timm",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "numpy",
    "scipy",
)


class Exported(NamedTuple):
    """What is exported: a network, and how it is used."""

    network: PoseNetwork
    checkpoint: Path  # that it comes from
    decoder: Decoder
    side: int  # of the input's shorter side, input pixels
    mirror: bool  # whether the mirrored image is looked at too
    licence: str  # note on what may be done with the weights


def description(exported: Exported) -> dict[str, Any]:
    """Plain lists, names and numbers, for JSON."""
    thresholds = asdict(exported.decoder)
    skeleton = _skeleton(exported.network.skeleton)
    skeleton["grouping_order"] = thresholds.pop("grouping_order")  # which may be another
    strides = exported.network.strides
    return {
        "architecture": exported.network.architecture,
        "skeleton": skeleton,
        "side": exported.side,
        "stride": strides[0],
        "heatmap_stride": strides[-1],
        "mirror_test": exported.mirror,
        "decoder": thresholds,
        "normalisation": {"mean": MEAN, "std": STD, "inside_network": True},
        "licence": exported.licence,
        "checkpoint": fingerprint(exported.checkpoint) | {"file": exported.checkpoint.name},
        "versions": {package: version(package) for package in _PACKAGES},
    }


def _skeleton(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton, its parts as first keypoint and the one after the last."""
    parts = {part: [at.start, at.stop] for part, at in skeleton.parts.items()}
    return {
        "name": skeleton.name,
        "keypoints": skeleton.keypoints,
        "mirror": skeleton.mirror,
        "bones": skeleton.bones,
        "sigmas": skeleton.sigmas,
        "parts": parts,
    }
