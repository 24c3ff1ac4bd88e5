"""This file carries weights: out of files into networks, from stage one into stage two."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tagpose.models.checkpoint import read_checkpoint
from tagpose.models.higherhrnet import HIGHER_PREFIX
from tagpose.models.network import HIGHER_HEAD_PREFIX, ChannelLayout, ModelSpec, PoseNetwork
from tagpose.skeletons.skeleton import TAG_PER_KEYPOINT


class TransferReport(NamedTuple):
    """What a start from other weights took, and what it did not."""

    loaded_tensors: int  # taken whole
    loaded_keypoints: tuple[str, ...]  # whose rows of the heads were taken
    new_keypoints: tuple[str, ...]  # keypoints whose rows start anew
    head_note: str = ""  # what became of a HigherHRNet head that only one of the networks has

    def __str__(self) -> str:
        return (
            f"{self.loaded_tensors} tensors whole and the heads' rows of {len(self.loaded_keypoints)} keypoints "
            f"taken, {len(self.new_keypoints)} keypoints start anew{self.head_note}"
        )


def load_network(file: Path) -> PoseNetwork:
    """The network of a checkpoint, for inference: one of this project, or a published one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, or does not fit what it says it is.
    """
    source_spec, state, _ = read_checkpoint(file)
    with torch.device("meta"):  # without the time to draw weights that the file's replace
        network = PoseNetwork(**source_spec._asdict())
    missing, unexpected = _load_state(network, state, file, assign=True)
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {source_spec.architecture} and has "
            f"{len(unexpected)} others, such as {[*missing, *unexpected][0]}; is it whole?"
        )
    # the tensors are the file's own, in its precision and layout
    return network.float().to(memory_format=torch.channels_last).eval()


def check_resumable(network: PoseNetwork, file: Path) -> None:
    """See that a checkpoint to resume is of this very network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or of another architecture or skeleton, or learned peaks
            at other places, or holds weights alone.
    """
    source_spec, _, resumable = read_checkpoint(file)
    target_spec = network.spec
    if source_spec[:2] != target_spec[:2]:  # a run may go on with another side
        raise ValueError(
            f"{file} is of {source_spec}, the model is of {target_spec}; resume goes on with the same, "
            "init_from starts another stage from it"
        )
    if source_spec.subpixel != target_spec.subpixel:
        its = str(source_spec.subpixel).lower()
        raise ValueError(
            f"{file} learned peaks with model.network.subpixel={its}; resume goes on with the "
            "same, init_from starts another stage from it"
        )
    if source_spec.tag_sharing != target_spec.tag_sharing:
        raise ValueError(
            f"{file} has model.network.tag_sharing={source_spec.tag_sharing}, the model {target_spec.tag_sharing}; resume with the "
            "same, or start another run from its weights by init_from"
        )
    if not resumable:
        raise ValueError(
            f"{file} holds weights and no state of a run, so nothing can be resumed; init_from "
            "starts from its weights"
        )


def transfer_weights(network: PoseNetwork, file: Path) -> TransferReport:
    """Start a network from another's weights, which may be of another skeleton.

    Backbone and blocks are taken whole. Of what depends on the keypoints, the rows of those that
    both skeletons have, by name; the other rows stay as they were initialised. A HigherHRNet head that
    the file lacks does, too, and one that the network lacks is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or of another backbone, or anything else is missing.
    """
    source_spec, state, _ = read_checkpoint(file)
    _check_backbone(network, source_spec, file)
    # a HigherHRNet head that only one of them has stays out of it
    passed = HIGHER_HEAD_PREFIX if source_spec.architecture != network.architecture else ()
    state = {name: tensor for name, tensor in state.items() if not name.startswith(passed)}
    tensors = network.keypoint_channels.items()
    channels = {name: each for name, each in tensors if not name.startswith(passed)}
    _transfer_channels(network, channels, state, source_spec, file)
    missing, unexpected = _load_state(network, state, file)
    missing = [name for name in missing if not name.startswith(passed)]
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {network.architecture} and has "
            f"{len(unexpected)} others; nothing may be missing but rows of keypoints"
        )
    source, target = source_spec.skeleton.keypoints, network.skeleton.keypoints
    return TransferReport(
        loaded_tensors=len(state) - len(channels),
        loaded_keypoints=tuple(k for k in target if k in source),
        new_keypoints=tuple(k for k in target if k not in source),
        head_note=_describe_head_mismatch(network) if passed else "",
    )


def _check_backbone(network: PoseNetwork, source_spec: ModelSpec, file: Path) -> None:
    """See that a file is of a network with the same backbone, whatever its heads."""
    theirs, ours = source_spec.architecture, network.architecture
    if theirs.removeprefix(HIGHER_PREFIX) != ours.removeprefix(HIGHER_PREFIX):
        raise ValueError(
            f"{file} is of {theirs}, the model is {ours}; take model={theirs} or another checkpoint"
        )


def _transfer_channels(
    network: PoseNetwork,
    channels: Mapping[str, ChannelLayout],
    state: dict[str, Tensor],
    source: ModelSpec,
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
        target, taken = _matching_channels(layout, network.spec, source)
        own[target] = state[name][taken]
        state[name] = own


def _matching_channels(
    layout: ChannelLayout, target: ModelSpec, source: ModelSpec
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
    if layout.has_tags:
        tags = {target.tag_index[k]: source.tag_index[theirs.index(ours[k])] for k in shared[::-1]}
        if target.tag_sharing != TAG_PER_KEYPOINT and shared:
            tags = dict.fromkeys(target.tag_index, 0) | tags
        first, other = features + len(ours), features + len(theirs)
        pairs |= {first + map_: other + taken for map_, taken in tags.items()}
    return list(pairs), list(pairs.values())


def _describe_head_mismatch(network: PoseNetwork) -> str:
    """What became of a HigherHRNet head that only one of two networks has."""
    return (
        ", and so does the HigherHRNet head"
        if network.higher_head
        else "; the HigherHRNet head is left out"
    )


def _load_state(
    network: PoseNetwork, state: Mapping[str, Tensor], file: Path, *, assign: bool = False
) -> tuple[list[str], list[str]]:
    """Put tensors into a network; which ones are missing, and which are too much."""
    try:
        missing, unexpected = network.load_state_dict(state, strict=False, assign=assign)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(f"{file} is not of {network.architecture} as it says: {first}") from error
    return missing, unexpected
