"""This file carries weights: out of checkpoints into networks, from stage one into stage two."""

import pickle
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from tagpose.model.network import PoseNetwork
from tagpose.skeleton import SKELETONS, Skeleton

FACTS: Final = "network"  # where a checkpoint says what network it is of
_PREFIX: Final = "network."  # the network's name in the LightningModule
_HEAD: Final = ("head.weight", "head.bias")


class Facts(NamedTuple):
    """What must be known to make a network again before its weights can be loaded."""

    architecture: str
    skeleton: str


class Carried(NamedTuple):
    """What a start from other weights took, and what it did not."""

    tensors: int  # taken whole
    keypoints: tuple[str, ...]  # whose rows of the head were taken
    fresh: tuple[str, ...]  # keypoints whose rows start anew

    def __str__(self) -> str:
        return (
            f"{self.tensors} tensors of the backbone and the head's rows of "
            f"{len(self.keypoints)} keypoints taken, {len(self.fresh)} keypoints start anew"
        )


def facts(network: PoseNetwork) -> dict[str, str]:
    """What a checkpoint keeps beside the weights: plain strings, which any version can read."""
    return Facts(network.architecture, network.skeleton.name)._asdict()


def load_network(file: Path) -> PoseNetwork:
    """The network of a checkpoint of this project, for inference.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint of this project, or does not fit what it says it is.
    """
    known, state = _read(file)
    network = PoseNetwork(known.architecture, known.skeleton)
    missing, unexpected = network.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {known.architecture} and has "
            f"{len(unexpected)} others, such as {[*missing, *unexpected][0]}; is it whole?"
        )
    return network.eval()


def check_same(network: PoseNetwork, file: Path) -> None:
    """See that a checkpoint to resume is of this very network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or of another architecture or skeleton.
    """
    known, _ = _read(file)
    here = Facts(**facts(network))
    if known != here:
        raise ValueError(
            f"{file} is of {known.architecture} with the skeleton {known.skeleton}, the model is "
            f"{here.architecture} with {here.skeleton}; resume goes on with the same, init_from "
            "starts another stage from it"
        )


def start_from(network: PoseNetwork, file: Path) -> Carried:
    """Start a network from another's weights, which may be of another skeleton.

    The backbone is taken whole. Of the head, the heatmap and tag rows of keypoints that both
    skeletons have, by name; the other rows stay as they were initialised.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or of another architecture, or anything else is missing.
    """
    known, state = _read(file)
    if known.architecture != network.architecture:
        raise ValueError(
            f"{file} is of {known.architecture}, the model is {network.architecture}; "
            f"take model={known.architecture} or another checkpoint"
        )
    source, target = SKELETONS[known.skeleton], network.skeleton
    if not state.keys() >= set(_HEAD):
        raise ValueError(f"{file} lacks {' and '.join(_HEAD)}; is it whole?")
    for name in _HEAD:
        rows = dict(network.named_parameters())[name].detach().clone()
        to, come_from = _shared_rows(source, target)
        rows[to] = state[name][come_from]
        state[name] = rows
    missing, unexpected = network.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {network.architecture} and has "
            f"{len(unexpected)} others; nothing may be missing but rows of the head"
        )
    return Carried(
        tensors=len(state) - len(_HEAD),
        keypoints=tuple(k for k in target.keypoints if k in source.keypoints),
        fresh=tuple(k for k in target.keypoints if k not in source.keypoints),
    )


def _shared_rows(source: Skeleton, target: Skeleton) -> tuple[list[int], list[int]]:
    """Rows of the head for the keypoints both have, in the target's and in the source's."""
    shared = [k for k in target.keypoints if k in source.keypoints]
    to, come_from = ([s.keypoints.index(k) for k in shared] for s in (target, source))
    # K rows of heatmaps, then K rows of tags
    return (
        to + [target.size + row for row in to],
        come_from + [source.size + row for row in come_from],
    )


def _read(file: Path) -> tuple[Facts, dict[str, Tensor]]:
    """What a checkpoint says of its network, and the network's tensors."""
    if not Path(file).is_file():
        raise FileNotFoundError(f"checkpoint {file} is missing; runs/ holds those made here")
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{file} is no whole checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or FACTS not in content or "state_dict" not in content:
        raise ValueError(f"{file} is no checkpoint of tagpose; it does not say which network it is")
    known, state = Facts(**content[FACTS]), content["state_dict"]
    if known.skeleton not in SKELETONS:
        raise ValueError(
            f"{file} is of the skeleton {known.skeleton!r}; there are {', '.join(SKELETONS)}"
        )
    return known, {
        key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)
    }
