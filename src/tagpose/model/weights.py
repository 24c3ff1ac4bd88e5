"""This file carries weights: out of files into networks, from stage one into stage two."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tagpose.model.files import read_weights
from tagpose.model.higher import HIGHER
from tagpose.model.network import FINER, Channels, Facts, PoseNetwork
from tagpose.skeleton import KEYPOINT


class Carried(NamedTuple):
    """What a start from other weights took, and what it did not."""

    tensors: int  # taken whole
    keypoints: tuple[str, ...]  # whose rows of the heads were taken
    fresh: tuple[str, ...]  # keypoints whose rows start anew
    aside: str = ""  # what became of a finer head that only one of the networks has

    def __str__(self) -> str:
        return (
            f"{self.tensors} tensors whole and the heads' rows of {len(self.keypoints)} keypoints "
            f"taken, {len(self.fresh)} keypoints start anew{self.aside}"
        )


def load_network(file: Path) -> PoseNetwork:
    """The network of a checkpoint, for inference: one of this project, or a published one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, or does not fit what it says it is.
    """
    known, state, _ = read_weights(file)
    with torch.device("meta"):  # without the time to draw weights that the file's replace
        network = PoseNetwork(**known._asdict())
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
        ValueError: it is no checkpoint, or of another architecture or skeleton, or learned peaks
            at other places, or holds weights alone.
    """
    known, _, resumable = read_weights(file)
    here = network.facts
    if known[:2] != here[:2]:  # a run may go on with another side
        raise ValueError(
            f"{file} is of {known}, the model is of {here}; resume goes on with the same, "
            "init_from starts another stage from it"
        )
    if known.sub_cell != here.sub_cell:
        its = str(known.sub_cell).lower()
        raise ValueError(
            f"{file} learned peaks with model.network.sub_cell={its}; resume goes on with the "
            "same, init_from starts another stage from it"
        )
    if known.tags != here.tags:
        raise ValueError(
            f"{file} has model.network.tags={known.tags}, the model {here.tags}; resume with the "
            "same, or start another run from its weights by init_from"
        )
    if not resumable:
        raise ValueError(
            f"{file} holds weights and no state of a run, so nothing can be resumed; init_from "
            "starts from its weights"
        )


def start_from(network: PoseNetwork, file: Path) -> Carried:
    """Start a network from another's weights, which may be of another skeleton.

    Backbone and blocks are taken whole. Of what depends on the keypoints, the rows of those that
    both skeletons have, by name; the other rows stay as they were initialised. A finer head that
    the file lacks does, too, and one that the network lacks is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or of another backbone, or anything else is missing.
    """
    known, state, _ = read_weights(file)
    _check_backbone(network, known, file)
    # a finer head that only one of them has stays out of it
    passed = FINER if known.architecture != network.architecture else ()
    state = {name: tensor for name, tensor in state.items() if not name.startswith(passed)}
    tensors = network.keypoint_channels.items()
    channels = {name: each for name, each in tensors if not name.startswith(passed)}
    _take_channels(network, channels, state, known, file)
    missing, unexpected = _load(network, state, file)
    missing = [name for name in missing if not name.startswith(passed)]
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {network.architecture} and has "
            f"{len(unexpected)} others; nothing may be missing but rows of keypoints"
        )
    source, target = known.skeleton.keypoints, network.skeleton.keypoints
    return Carried(
        tensors=len(state) - len(channels),
        keypoints=tuple(k for k in target if k in source),
        fresh=tuple(k for k in target if k not in source),
        aside=_aside(network) if passed else "",
    )


def _check_backbone(network: PoseNetwork, known: Facts, file: Path) -> None:
    """See that a file is of a network with the same backbone, whatever its heads."""
    theirs, ours = known.architecture, network.architecture
    if theirs.removeprefix(HIGHER) != ours.removeprefix(HIGHER):
        raise ValueError(
            f"{file} is of {theirs}, the model is {ours}; take model={theirs} or another checkpoint"
        )


def _take_channels(
    network: PoseNetwork,
    channels: Mapping[str, Channels],
    state: dict[str, Tensor],
    source: Facts,
    file: Path,
) -> None:
    """Replace tensors of a state by the network's own with the channels that both have."""
    lacking = [name for name in channels if name not in state]
    if lacking:
        raise ValueError(f"{file} lacks {' and '.join(lacking)}; is it whole?")
    parameters = dict(network.named_parameters())
    for name, layout in channels.items():
        own = parameters[name].detach().clone()
        if state[name].shape != (layout.count(source), *own.shape[1:]):
            raise ValueError(
                f"{file}: {name} has the shape {list(state[name].shape)}; is it whole?"
            )
        target, taken = _matching_channels(layout, network.facts, source)
        own[target] = state[name][taken]
        state[name] = own


def _matching_channels(
    layout: Channels, target: Facts, source: Facts
) -> tuple[list[int], list[int]]:
    """Return channels of a tensor, and the channels of another network that initialise them.

    Heatmaps are matched by the name of the keypoint, tag maps by their first keypoint that both
    networks have. A map that several keypoints share, none of which the source has, starts as the
    source's first one.
    """
    features, ours, theirs = layout.features, target.skeleton.keypoints, source.skeleton.keypoints
    shared = [k for k, name in enumerate(ours) if name in theirs]
    pairs = {channel: channel for channel in range(features)}
    pairs |= {features + k: features + theirs.index(ours[k]) for k in shared}
    if layout.tagged:
        tags = {target.tag_index[k]: source.tag_index[theirs.index(ours[k])] for k in shared[::-1]}
        if target.tags != KEYPOINT and shared:
            tags = dict.fromkeys(target.tag_index, 0) | tags
        first, other = features + len(ours), features + len(theirs)
        pairs |= {first + map_: other + taken for map_, taken in tags.items()}
    return list(pairs), list(pairs.values())


def _aside(network: PoseNetwork) -> str:
    """What became of a finer head that only one of two networks has."""
    return ", and so does the finer head" if network.finer else "; the finer head is left out"


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
