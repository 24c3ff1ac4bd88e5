"""This file translates between this project's tensors and the layout of published checkpoints.

That layout (OpenMMLab, 2020) names the same tensors with other words in front, so nothing is
computed: `backbone.` holds an HRNet as timm names it, `keypoint_head.` the head, or both heads of a
HigherHRNet.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

import timm
import torch
from torch import Tensor

from tagpose.models.higherhrnet import HIGHER_PREFIX
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
    theirs: ours for words in (_PREFIXES, _HIGHER_PREFIXES) for ours, theirs in words.items()
}
_MAX_LISTED: Final = 12  # names of tensors that an error shows


def is_mmpose(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are named as the published checkpoints name them."""
    return any(key.startswith("keypoint_head.") for key in state)


def to_mmpose(state: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """Return the tensors of a network under their published names.

    That layout has a tag map for each keypoint, so shared ones are repeated.
    """
    state = dict(state)
    for name in ("head.weight", "head.bias"):
        state[name] = _repeat_tags(state[name], spec)
    if _is_higher(state):
        repeats = torch.bincount(torch.tensor(spec.tag_index))
        ones = torch.ones(len(state[HIGHER_HEAD_INPUT_WEIGHT]) - len(repeats))
        shares = (1 / torch.cat([ones, repeats]))[:, None, None, None]  # of the repeated inputs
        state[HIGHER_HEAD_INPUT_WEIGHT] = _repeat_tags(
            state[HIGHER_HEAD_INPUT_WEIGHT] * shares, spec
        )
    words = _HIGHER_PREFIXES if _is_higher(state) else _PREFIXES
    return {key: value.contiguous() for key, value in _rename_keys(state, words).items()}


def _repeat_tags(tensor: Tensor, spec: ModelSpec) -> Tensor:
    """Return a tensor with a tag channel for each keypoint, at the end of its first axis."""
    maps = spec.tag_maps
    return torch.cat([tensor[:-maps], tensor[-maps:][list(spec.tag_index)]])


def from_mmpose(
    state: Mapping[str, Tensor], known_spec: ModelSpec | None = None
) -> tuple[ModelSpec, dict[str, Tensor]]:
    """What network published tensors are of, and the tensors, renamed.

    Args:
        state: the tensors by their published names.
        known_spec: what the file says of them, where it does; otherwise it is told from their shapes.

    Raises:
        ValueError: they are of no network that can be made here; it lists what does not fit.
    """
    renamed = _rename_keys(state, _OWN_PREFIXES)
    shapes = {key: tuple(value.shape) for key, value in renamed.items()}
    skeleton = known_spec.skeleton if known_spec else _infer_skeleton(shapes)
    faults = {}
    for architecture in (
        [known_spec.architecture] if known_spec else _candidate_architectures(shapes)
    ):
        faults[architecture] = _find_mismatches(architecture, skeleton, shapes)
        if not faults[architecture]:
            return known_spec or ModelSpec(architecture, skeleton), renamed
    nearest = min(faults, key=lambda architecture: len(faults[architecture]))
    raise ValueError(
        f"it fits no HRNet of timm; from the nearest, {nearest}, {len(faults[nearest])} tensors "
        f"differ: {_format_names(faults[nearest])}"
    )


def _infer_skeleton(shapes: Mapping[str, tuple[int, ...]]) -> Skeleton:
    """The skeleton whose heatmaps and tags the head has rows for."""
    if "head.weight" not in shapes:
        heads = [key for key in shapes if not key.startswith("backbone.")]
        raise ValueError(
            f"it has no {_PREFIXES['head.']}weight, nor {_HIGHER_PREFIXES['head.']}weight, but "
            f"{_format_names(heads)}; is it of another method?"
        )
    rows = shapes["head.weight"][0]
    known = {2 * skeleton.size: name for name, skeleton in SKELETONS.items()}
    if rows not in known:
        sizes = ", ".join(f"{rows} ({name})" for rows, name in known.items())
        raise ValueError(
            f"its head has {rows} rows of heatmaps and tags together; known are {sizes}"
        )
    return SKELETONS[known[rows]]


def _rename_keys(state: Mapping[str, Tensor], words: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors with the first word of their names translated, where it is known."""

    def name(key: str) -> str:
        for old, new in words.items():
            if key.startswith(old):
                return new + key.removeprefix(old)
        return key

    return {name(key): value for key, value in state.items()}


def _is_higher(state: Mapping[str, object]) -> bool:
    """Whether tensors by our names are of a network with the HigherHRNet head."""
    return any(key.startswith(HIGHER_HEAD_PREFIX) for key in state)


@cache
def _expected_shapes(
    architecture: str,
) -> tuple[dict[str, tuple[int, ...]], dict[str, ChannelLayout]]:
    """Shapes of a network's tensors for BODY, without the memory, and the channels in them."""
    with torch.device("meta"):
        network = PoseNetwork(architecture, BODY)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return shapes, network.keypoint_channels


def _candidate_architectures(shapes: Mapping[str, object]) -> list[str]:
    """HRNets of timm, with the HigherHRNet head if these have one; plain names before their like."""
    prefix = HIGHER_PREFIX if _is_higher(shapes) else ""
    return [prefix + name for name in sorted(timm.list_models("hrnet_*"), key=len)]


def _find_mismatches(
    architecture: str, skeleton: Skeleton, shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """What is missing, too much, or of another shape."""
    wanted, channels = _expected_shapes(architecture)
    spec = ModelSpec(architecture, skeleton)
    wanted = wanted | {k: (each.count(spec), *wanted[k][1:]) for k, each in channels.items()}
    missing = [f"{key} is missing" for key in wanted if key not in shapes]
    other = [
        f"{key} is {list(shapes[key])} instead of {list(shape)}"
        for key, shape in wanted.items()
        if key in shapes and shapes[key] != shape
    ]
    return missing + other + [f"{key} is too much" for key in shapes if key not in wanted]


def _format_names(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
