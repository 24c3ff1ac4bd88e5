"""Conversion between the tensor names of this project and those of MMPose checkpoints.

MMPose (OpenMMLab, 2020) uses other prefixes for the same tensors: `backbone.` for an HRNet with the
names of timm, and `keypoint_head.` for the head, or both heads of a HigherHRNet.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

import torch
from torch import Tensor

from tagpose.models.higherhrnet import HIGHER_PREFIX
from tagpose.models.hrnet import HRNETS
from tagpose.models.network import (
    HIGHER_HEAD_INPUT_WEIGHT,
    HIGHER_HEAD_PREFIX,
    ChannelLayout,
    ModelSpec,
    PoseNetwork,
)
from tagpose.skeletons.coco import BODY, SKELETONS
from tagpose.skeletons.skeleton import Skeleton

_PREFIXES: Final = {"backbone.": "backbone.", "head.": "keypoint_head.final_layer."}
_HIGHER_PREFIXES: Final = {
    "backbone.": "backbone.",
    "head.": "keypoint_head.final_layers.0.",
    f"{HIGHER_HEAD_PREFIX}head.": "keypoint_head.final_layers.1.",
    f"{HIGHER_HEAD_PREFIX}layers.": "keypoint_head.deconv_layers.0.",
}
_OWN_PREFIXES: Final = {
    theirs: ours for prefixes in (_PREFIXES, _HIGHER_PREFIXES) for ours, theirs in prefixes.items()
}
_MAX_LISTED: Final = 12  # number of tensor names in an error message


def is_mmpose(state: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of MMPose checkpoints."""
    return any(key.startswith("keypoint_head.") for key in state)


def to_mmpose(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors of a network by their names in MMPose.

    MMPose has one tag map for each keypoint, so shared tag maps are repeated.

    Raises:
        ValueError: if the network has spatial tags, which MMPose does not have.
    """
    if spec.spatial_tags:
        raise ValueError(
            f"the network was trained with model.network.spatial_tags={spec.spatial_tags}, which "
            "the format of MMPose cannot store; share the checkpoint itself, or train with "
            "spatial_tags=0"
        )
    state = dict(state)
    for name in ("head.weight", "head.bias"):
        state[name] = _repeat_tags(state[name], spec)
    if _is_higher(state):
        repeats = torch.bincount(torch.tensor(spec.tag_index))
        ones = torch.ones(len(state[HIGHER_HEAD_INPUT_WEIGHT]) - len(repeats))
        shares = (1 / torch.cat([ones, repeats]))[:, None, None, None]  # divides repeated inputs
        state[HIGHER_HEAD_INPUT_WEIGHT] = _repeat_tags(
            state[HIGHER_HEAD_INPUT_WEIGHT] * shares, spec
        )
    prefixes = _HIGHER_PREFIXES if _is_higher(state) else _PREFIXES
    return {key: value.contiguous() for key, value in _rename_keys(state, prefixes).items()}


def _repeat_tags(tensor: Tensor, spec: ModelSpec) -> Tensor:
    """Repeat the tag channels, the last ones of the first axis, for each keypoint."""
    maps = spec.tag_maps
    return torch.cat([tensor[:-maps], tensor[-maps:][list(spec.tag_index)]])


def from_mmpose(
    state: Mapping[str, Tensor], known_spec: ModelSpec | None = None
) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Convert the tensors of an MMPose checkpoint.

    Args:
        state: tensors by their names in MMPose.
        known_spec: specification of the network in the file; if None, it is inferred from shapes.

    Returns:
        The specification of the network, and the tensors by their names in this project.

    Raises:
        ValueError: if the tensors fit no known network; the message lists mismatches.
    """
    renamed = _rename_keys(state, _OWN_PREFIXES)
    shapes = {key: tuple(value.shape) for key, value in renamed.items()}
    skeleton = known_spec.skeleton if known_spec else _infer_skeleton(shapes)
    mismatches = {}
    candidates = [known_spec.architecture] if known_spec else _candidate_architectures(shapes)
    for architecture in candidates:
        mismatches[architecture] = _find_mismatches(architecture, skeleton, shapes)
        if not mismatches[architecture]:
            return known_spec or ModelSpec(architecture, skeleton), renamed
    nearest = min(mismatches, key=lambda architecture: len(mismatches[architecture]))
    raise ValueError(
        f"tensors fit no known HRNet; {len(mismatches[nearest])} tensors differ from the most "
        f"similar one, {nearest}: {_format_names(mismatches[nearest])}"
    )


def _infer_skeleton(shapes: Mapping[str, tuple[int, ...]]) -> Skeleton:
    """Return the official skeleton with as many channels of heatmaps and tags as the head."""
    if "head.weight" not in shapes:
        heads = [key for key in shapes if not key.startswith("backbone.")]
        raise ValueError(
            f"neither {_PREFIXES['head.']}weight nor {_HIGHER_PREFIXES['head.']}weight exists, but "
            f"{_format_names(heads)}; use a checkpoint of Associative Embedding"
        )
    channels = shapes["head.weight"][0]
    known = {2 * skeleton.size: name for name, skeleton in SKELETONS.items()}
    if channels not in known:
        expected = ", ".join(f"{count} ({name})" for count, name in known.items())
        raise ValueError(f"the head has {channels} output channels; expected {expected}")
    return SKELETONS[known[channels]]


def _rename_keys(state: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """Replace the prefixes of tensor names; names with other prefixes are kept."""

    def rename(key: str) -> str:
        for old, new in prefixes.items():
            if key.startswith(old):
                return new + key.removeprefix(old)
        return key

    return {rename(key): value for key, value in state.items()}


def _is_higher(state: Mapping[str, object]) -> bool:
    """Return whether tensors, by their names in this project, include the HigherHRNet head."""
    return any(key.startswith(HIGHER_HEAD_PREFIX) for key in state)


@cache
def _expected_shapes(
    architecture: str,
) -> tuple[dict[str, tuple[int, ...]], dict[str, ChannelLayout]]:
    """Return the tensor shapes of a network for BODY, and the tensors that depend on keypoints."""
    with torch.device("meta"):
        network = PoseNetwork(architecture, BODY)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return shapes, network.keypoint_channels


def _candidate_architectures(shapes: Mapping[str, object]) -> list[str]:
    """Return all HRNets, or HigherHRNets if tensors have that head, short names first."""
    prefix = HIGHER_PREFIX if _is_higher(shapes) else ""
    return [prefix + name for name in sorted(HRNETS, key=len)]


def _find_mismatches(
    architecture: str, skeleton: Skeleton, shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Describe tensors that are missing, unexpected or of another shape."""
    expected, channels = _expected_shapes(architecture)
    spec = ModelSpec(architecture, skeleton)
    resized = {k: (layout.count(spec), *expected[k][1:]) for k, layout in channels.items()}
    expected = expected | resized
    missing = [f"{key} is missing" for key in expected if key not in shapes]
    different = [
        f"{key} has shape {list(shapes[key])} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in shapes and shapes[key] != shape
    ]
    unexpected = [f"{key} is unexpected" for key in shapes if key not in expected]
    return missing + different + unexpected


def _format_names(names: list[str]) -> str:
    """Join the first names, and count the others."""
    others = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {others} more" if others > 0 else "")
