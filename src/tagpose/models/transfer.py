"""Transfer of weights from stage one to stage two, by the names of keypoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from tagpose.models.checkpoint import load_state, read_checkpoint
from tagpose.models.higherhrnet import HIGHER_PREFIX
from tagpose.models.network import HIGHER_HEAD_PREFIX, ChannelLayout, ModelSpec, PoseNetwork
from tagpose.skeletons.skeleton import TAG_PER_KEYPOINT


class TransferReport(NamedTuple):
    """Summary of a weight transfer: what was loaded and what is randomly initialized."""

    loaded_tensors: int  # tensors that do not depend on keypoints
    loaded_keypoints: tuple[str, ...]  # keypoints with loaded head channels
    new_keypoints: tuple[str, ...]  # keypoints with randomly initialized head channels
    head_note: str = ""  # note on a HigherHRNet head that only one of the networks has

    def __str__(self) -> str:
        return (
            f"loaded {self.loaded_tensors} tensors and the head channels of "
            f"{len(self.loaded_keypoints)} keypoints; {len(self.new_keypoints)} keypoints are "
            f"randomly initialized{self.head_note}"
        )


def transfer_weights(network: PoseNetwork, file: Path) -> TransferReport:
    """Initialize a network with the weights of a checkpoint, which may have another skeleton.

    Tensors that do not depend on keypoints are loaded as they are. Of the others, the channels of
    keypoints that both skeletons have are loaded, by name; the rest keeps its initialization, and
    so does a HigherHRNet head that the file lacks. One that the network lacks is skipped.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is not a checkpoint, has another backbone, or lacks other tensors.
    """
    source_spec, state, _ = read_checkpoint(file)
    _check_backbone(network, source_spec, file)
    # a HigherHRNet head that only one of the networks has is skipped
    skipped = HIGHER_HEAD_PREFIX if source_spec.architecture != network.architecture else ()
    state = {name: tensor for name, tensor in state.items() if not name.startswith(skipped)}
    layouts = network.keypoint_channels.items()
    channels = {name: layout for name, layout in layouts if not name.startswith(skipped)}
    _transfer_channels(network, channels, state, source_spec, file)
    missing, unexpected = load_state(network, state, file)
    missing = [name for name in missing if not name.startswith(skipped)]
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {network.architecture} and has "
            f"{len(unexpected)} unexpected ones, such as {[*missing, *unexpected][0]}; only "
            "channels of keypoints may differ, so use a complete checkpoint"
        )
    source, target = source_spec.skeleton.keypoints, network.skeleton.keypoints
    return TransferReport(
        loaded_tensors=len(state) - len(channels),
        loaded_keypoints=tuple(k for k in target if k in source),
        new_keypoints=tuple(k for k in target if k not in source),
        head_note=_describe_head_mismatch(network) if skipped else "",
    )


def _check_backbone(network: PoseNetwork, source_spec: ModelSpec, file: Path) -> None:
    """Raise a ValueError unless a file contains the same backbone; heads may differ."""
    source, target = source_spec.architecture, network.architecture
    if source.removeprefix(HIGHER_PREFIX) != target.removeprefix(HIGHER_PREFIX):
        raise ValueError(
            f"{file} contains {source}, but the model is {target}; use model={source} or another "
            "checkpoint"
        )


def _transfer_channels(
    network: PoseNetwork,
    channels: Mapping[str, ChannelLayout],
    state: dict[str, Tensor],
    source: ModelSpec,
    file: Path,
) -> None:
    """Replace tensors of a state by those of the network, with the channels that both have."""
    missing = [name for name in channels if name not in state]
    if missing:
        raise ValueError(f"{file} lacks {' and '.join(missing)}; use a complete checkpoint")
    parameters = dict(network.named_parameters())
    for name, layout in channels.items():
        tensor = parameters[name].detach().clone()
        expected = (layout.count(source), *tensor.shape[1:])
        if state[name].shape != expected:
            raise ValueError(
                f"{file}: {name} has shape {list(state[name].shape)} instead of {list(expected)}; "
                "use a complete checkpoint"
            )
        targets, sources = _match_channels(layout, network.spec, source)
        tensor[targets] = state[name][sources]
        state[name] = tensor


def _match_channels(
    layout: ChannelLayout, target: ModelSpec, source: ModelSpec
) -> tuple[list[int], list[int]]:
    """Return channels of a tensor, and the channels of another network that initialize them.

    Heatmaps are matched by the names of keypoints, and tag maps by their first keypoint that both
    networks have. A shared tag map of keypoints that the source lacks is initialized with the
    first tag map of the source. Offsets do not depend on keypoints.
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
        pairs |= {first + tag: other + source_tag for tag, source_tag in tags.items()}
    if layout.has_offsets:
        lasts = layout.count(target), layout.count(source)
        count = min(target.offset_channels, source.offset_channels)
        pairs |= {lasts[0] - n: lasts[1] - n for n in range(count, 0, -1)}
    return list(pairs), list(pairs.values())


def _describe_head_mismatch(network: PoseNetwork) -> str:
    """Describe the treatment of a HigherHRNet head that only one of two networks has."""
    if network.higher_head:
        return ", and so is the HigherHRNet head"
    return "; the HigherHRNet head of the file was skipped"
