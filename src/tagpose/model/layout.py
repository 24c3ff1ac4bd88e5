"""This file translates between this project's tensors and the layout of published checkpoints.

That layout (OpenMMLab, 2020) names the same tensors with other words in front, so nothing is
computed: `backbone.` holds an HRNet as timm names it, `keypoint_head.final_layer.` the head.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

import timm
import torch
from torch import Tensor

from tagpose.model.network import Facts, PoseNetwork
from tagpose.skeleton import BODY, SKELETONS, Skeleton

_WORDS: Final = {"backbone.": "backbone.", "head.": "keypoint_head.final_layer."}
_LISTED: Final = 12  # names of tensors that an error shows


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are named as the published checkpoints name them."""
    return any(key.startswith("keypoint_head.") for key in state)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network under their published names."""
    return {key: value.contiguous() for key, value in _renamed(state, _WORDS).items()}


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
    renamed = _renamed(state, {theirs: ours for ours, theirs in _WORDS.items()})
    shapes = {key: tuple(value.shape) for key, value in renamed.items()}
    skeleton = told.skeleton if told else _skeleton(shapes)
    faults = {}
    for architecture in [told.architecture] if told else _architectures():
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
            f"it has no {_WORDS['head.']}weight, but {_listed(heads)}; is it of another method, or "
            "a HigherHRNet?"
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


@cache
def _shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's tensors, without the memory for them; the head's for BODY."""
    with torch.device("meta"):
        network = PoseNetwork(architecture, BODY)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _architectures() -> list[str]:
    """HRNets of timm, the plain name before others that are made alike."""
    return sorted(timm.list_models("hrnet_*"), key=len)


def _faults(
    architecture: str, skeleton: Skeleton, shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """What is missing, too much, or of another shape."""
    rows = 2 * skeleton.size
    wanted = {
        key: (rows, *shape[1:]) if key.startswith("head.") else shape
        for key, shape in _shapes(architecture).items()
    }
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
