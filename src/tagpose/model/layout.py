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

from tagpose.model.higher import HIGHER
from tagpose.model.network import FINER, FINER_INPUTS, Channels, Facts, PoseNetwork
from tagpose.official_skeletons import BODY, SKELETONS
from tagpose.skeleton import Skeleton

_WORDS: Final = {"backbone.": "backbone.", "head.": "keypoint_head.final_layer."}
_HIGHER_WORDS: Final = {
    "backbone.": "backbone.",
    "head.": "keypoint_head.final_layers.0.",
    f"{FINER}head.": "keypoint_head.final_layers.1.",
    f"{FINER}layers.": "keypoint_head.deconv_layers.0.",
}
_OURS: Final = {theirs: ours for words in (_WORDS, _HIGHER_WORDS) for ours, theirs in words.items()}
_LISTED: Final = 12  # names of tensors that an error shows


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are named as the published checkpoints name them."""
    return any(key.startswith("keypoint_head.") for key in state)


def to_published(state: Mapping[str, Tensor], facts: Facts) -> dict[str, Tensor]:
    """Return the tensors of a network under their published names.

    That layout has a tag map for each keypoint, so shared ones are repeated.
    """
    state = dict(state)
    for name in ("head.weight", "head.bias"):
        state[name] = _repeat_tags(state[name], facts)
    if _is_higher(state):
        repeats = torch.bincount(torch.tensor(facts.tag_index))
        ones = torch.ones(len(state[FINER_INPUTS]) - len(repeats))
        shares = (1 / torch.cat([ones, repeats]))[:, None, None, None]  # of the repeated inputs
        state[FINER_INPUTS] = _repeat_tags(state[FINER_INPUTS] * shares, facts)
    words = _HIGHER_WORDS if _is_higher(state) else _WORDS
    return {key: value.contiguous() for key, value in _renamed(state, words).items()}


def _repeat_tags(tensor: Tensor, facts: Facts) -> Tensor:
    """Return a tensor with a tag channel for each keypoint, at the end of its first axis."""
    maps = facts.tag_maps
    return torch.cat([tensor[:-maps], tensor[-maps:][list(facts.tag_index)]])


def from_published(
    state: Mapping[str, Tensor], told: Facts | None = None
) -> tuple[Facts, dict[str, Tensor]]:
    """What network published tensors are of, and the tensors, renamed.

    Args:
        state: the tensors by their published names.
        told: what the file says of them, where it does; otherwise it is told from their shapes.

    Raises:
        ValueError: they are of no network that can be made here; it lists what does not fit.
    """
    renamed = _renamed(state, _OURS)
    shapes = {key: tuple(value.shape) for key, value in renamed.items()}
    skeleton = told.skeleton if told else _skeleton(shapes)
    faults = {}
    for architecture in [told.architecture] if told else _architectures(shapes):
        faults[architecture] = _faults(architecture, skeleton, shapes)
        if not faults[architecture]:
            return told or Facts(architecture, skeleton), renamed
    nearest = min(faults, key=lambda architecture: len(faults[architecture]))
    raise ValueError(
        f"it fits no HRNet of timm; from the nearest, {nearest}, {len(faults[nearest])} tensors "
        f"differ: {_listed(faults[nearest])}"
    )


def _skeleton(shapes: Mapping[str, tuple[int, ...]]) -> Skeleton:
    """The skeleton whose heatmaps and tags the head has rows for."""
    if "head.weight" not in shapes:
        heads = [key for key in shapes if not key.startswith("backbone.")]
        raise ValueError(
            f"it has no {_WORDS['head.']}weight, nor {_HIGHER_WORDS['head.']}weight, but "
            f"{_listed(heads)}; is it of another method?"
        )
    rows = shapes["head.weight"][0]
    known = {2 * skeleton.size: name for name, skeleton in SKELETONS.items()}
    if rows not in known:
        sizes = ", ".join(f"{rows} ({name})" for rows, name in known.items())
        raise ValueError(
            f"its head has {rows} rows of heatmaps and tags together; known are {sizes}"
        )
    return SKELETONS[known[rows]]


def _renamed(state: Mapping[str, Tensor], words: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors with the first word of their names translated, where it is known."""

    def name(key: str) -> str:
        for old, new in words.items():
            if key.startswith(old):
                return new + key.removeprefix(old)
        return key

    return {name(key): value for key, value in state.items()}


def _is_higher(state: Mapping[str, object]) -> bool:
    """Whether tensors by our names are of a network with the finer head."""
    return any(key.startswith(FINER) for key in state)


@cache
def _shapes(architecture: str) -> tuple[dict[str, tuple[int, ...]], dict[str, Channels]]:
    """Shapes of a network's tensors for BODY, without the memory, and the channels in them."""
    with torch.device("meta"):
        network = PoseNetwork(architecture, BODY)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return shapes, network.keypoint_channels


def _architectures(shapes: Mapping[str, object]) -> list[str]:
    """HRNets of timm, with the finer head if these have one; plain names before their like."""
    prefix = HIGHER if _is_higher(shapes) else ""
    return [prefix + name for name in sorted(timm.list_models("hrnet_*"), key=len)]


def _faults(
    architecture: str, skeleton: Skeleton, shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """What is missing, too much, or of another shape."""
    wanted, channels = _shapes(architecture)
    facts = Facts(architecture, skeleton)
    wanted = wanted | {k: (each.count(facts), *wanted[k][1:]) for k, each in channels.items()}
    missing = [f"{key} is missing" for key in wanted if key not in shapes]
    other = [
        f"{key} is {list(shapes[key])} instead of {list(shape)}"
        for key, shape in wanted.items()
        if key in shapes and shapes[key] != shape
    ]
    return missing + other + [f"{key} is too much" for key in shapes if key not in wanted]


def _listed(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
