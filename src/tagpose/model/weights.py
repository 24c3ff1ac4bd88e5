"""This file carries weights: out of files into networks, from stage one into stage two."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.model.files import read_weights
from tagpose.model.network import PoseNetwork
from tagpose.skeleton import Skeleton

_HEAD: Final = ("head.weight", "head.bias")


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


def load_network(file: Path) -> PoseNetwork:
    """The network of a checkpoint, for inference: one of this project, or a published one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, or does not fit what it says it is.
    """
    known, state, _ = read_weights(file)
    with torch.device("meta"):  # without the time to draw weights that the file's replace
        network = PoseNetwork(
            known.architecture, known.skeleton, side=known.side, sub_cell=known.sub_cell
        )
    missing, unexpected = _load(network, state, file, assign=True)
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {known.architecture} and has "
            f"{len(unexpected)} others, such as {[*missing, *unexpected][0]}; is it whole?"
        )
    # the tensors are the file's own, in its precision and layout
    return network.float().to(memory_format=torch.channels_last).eval()


def check_same(network: PoseNetwork, file: Path) -> None:
    """See that a checkpoint to resume is of this very network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or of another architecture or skeleton, or holds weights
            alone.
    """
    known, _, resumable = read_weights(file)
    here = network.facts
    if known[:2] != here[:2]:  # a run may go on with another side
        raise ValueError(
            f"{file} is of {known}, the model is of {here}; resume goes on with the same, "
            "init_from starts another stage from it"
        )
    if not resumable:
        raise ValueError(
            f"{file} holds weights and no state of a run, so nothing can be resumed; init_from "
            "starts from its weights"
        )


def start_from(network: PoseNetwork, file: Path) -> Carried:
    """Start a network from another's weights, which may be of another skeleton.

    The backbone is taken whole. Of the head, the heatmap and tag rows of keypoints that both
    skeletons have, by name; the other rows stay as they were initialised.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or of another architecture, or anything else is missing.
    """
    known, state, _ = read_weights(file)
    if known.architecture != network.architecture:
        raise ValueError(
            f"{file} is of {known.architecture}, the model is {network.architecture}; "
            f"take model={known.architecture} or another checkpoint"
        )
    source, target = known.skeleton, network.skeleton
    if not state.keys() >= set(_HEAD):
        raise ValueError(f"{file} lacks {' and '.join(_HEAD)}; is it whole?")
    for name in _HEAD:
        rows = dict(network.named_parameters())[name].detach().clone()
        if state[name].shape != (2 * source.size, *rows.shape[1:]):
            raise ValueError(
                f"{file}: {name} has the shape {list(state[name].shape)}; is it whole?"
            )
        to, come_from = _shared_rows(source, target)
        rows[to] = state[name][come_from]
        state[name] = rows
    missing, unexpected = _load(network, state, file)
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


def _load(
    network: PoseNetwork, state: Mapping[str, Tensor], file: Path, *, assign: bool = False
) -> tuple[list[str], list[str]]:
    """Put tensors into a network; which ones are missing, and which are too much."""
    try:
        missing, unexpected = network.load_state_dict(state, strict=False, assign=assign)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(f"{file} is not of {network.architecture} as it says: {first}") from error
    return missing, unexpected


def _shared_rows(source: Skeleton, target: Skeleton) -> tuple[list[int], list[int]]:
    """Rows of the head for the keypoints both have, in the target's and in the source's."""
    shared = [k for k in target.keypoints if k in source.keypoints]
    to, come_from = ([s.keypoints.index(k) for k in shared] for s in (target, source))
    # K rows of heatmaps, then K rows of tags
    return (
        to + [target.size + row for row in to],
        come_from + [source.size + row for row in come_from],
    )
