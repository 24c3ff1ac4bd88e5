"""This file makes HRNet backbones (Sun 2019) from timm, cut down to their stride-4 branch."""

import logging
from pathlib import Path
from socket import create_connection
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants
from timm.models import load_pretrained, load_state_dict
from torch import Tensor, hub, nn

_FAMILY: Final = "hrnet_"
_MMPOSE_PREFIX: Final = "backbone."  # before the names of a backbone's tensors in a pose checkpoint
_BATCH_COUNTER: Final = "num_batches_tracked"  # end of names that old files of weights lack
_TIMEOUT: Final = 5  # seconds for the hub to answer


def build_hrnet(name: str, *, pretrained: bool | str = False) -> tuple[nn.Module, int]:
    """An HRNet that returns a list of one map [B, C, H / 4, W / 4], its finest branch; and C.

    The branch is raw, before the classification head's widening, as in the published pose
    networks. What only the coarser branches' outputs need is cut off, so that every parameter
    receives a gradient.

    Args:
        name: a model of timm, such as "hrnet_w32".
        pretrained: whether to load ImageNet weights, which timm fetches or finds in its cache; or
            a file or https:// address of the weights of an HRNet, such as those MMPose starts from.

    Raises:
        FileNotFoundError: the file of weights is missing.
        ValueError: timm has no such HRNet, or the file holds the weights of another network.
        RuntimeError: the weights could not be fetched, or did not fit.
    """
    known = timm.list_models(f"{_FAMILY}*")
    if name.split(".")[0] not in known:
        raise ValueError(f"model {name!r} is no HRNet of timm; there are {', '.join(known)}")
    # the features_only form keeps the branches; index 1 is stride 4 (0 is the stem)
    network: Any = timm.create_model(
        name, features_only=True, feature_location="", out_indices=(1,)
    )
    if pretrained is True:
        _load_imagenet(network, name)
    last = network.stage4[-1]
    last.fuse_layers = nn.ModuleList([last.fuse_layers[0]])
    if isinstance(pretrained, str):
        _load_file(network, name, pretrained)
    return network, network.feature_info.channels()[0]


def _load_imagenet(network: Any, name: str) -> None:
    """Load timm's ImageNet weights, and see that they arrived.

    timm loads what fits and only warns of the rest, so each tensor is compared with itself before.
    """
    if not _is_reachable(constants.ENDPOINT):
        # else it is asked again and again for a minute; this finds what is in the cache
        constants.HF_HUB_OFFLINE = True
    before = {key: value.clone() for key, value in network.state_dict().items()}
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)  # names every unused key
    try:
        load_pretrained(network, pretrained_cfg=network.pretrained_cfg, strict=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"the ImageNet weights of {name} could not be fetched ({type(error).__name__}); connect"
            " to the network once, point HF_HOME to a cache that has them, or start without them"
            " by model.network.pretrained=false"
        ) from error
    same = [key for key, value in network.state_dict().items() if _is_unchanged(key, value, before)]
    if same:
        raise RuntimeError(
            f"the file of ImageNet weights of {name} left {len(same)} of {len(before)} tensors as"
            f" they were, {same[0]} the first; it belongs to another network"
        )


def _load_file(network: nn.Module, name: str, source: str) -> None:
    """Load the backbone's tensors from a file or an address; other tensors are left out."""
    state = _read_state_dict(_local_file(source))
    own = {key.removeprefix(_MMPOSE_PREFIX): value for key, value in state.items()}
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith(_BATCH_COUNTER)}
    faults = [k for k, v in wanted.items() if k not in own or own[k].shape != v.shape]
    if faults:
        raise ValueError(
            f"{source} has {len(wanted) - len(faults)} of the {len(wanted)} tensors of {name}, and "
            f"{faults[0]} is missing or has another shape; expected an HRNet of this width, so "
            "name its file by model.network.pretrained=FILE"
        )
    network.load_state_dict({key: own[key] for key in wanted}, strict=False)


def _local_file(source: str) -> Path:
    """Return the file of a path, or of an https address, which is downloaded once and cached."""
    if not source.startswith("https://"):
        return Path(source)
    file = Path(hub.get_dir()) / "checkpoints" / Path(urlsplit(source).path).name
    if file.exists():
        return file
    digits = hub.HASH_REGEX.search(file.name)  # of SHA-256, as in hrnet_w32-36af842e.pth
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        hub.download_url_to_file(source, str(file), digits and digits[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"{source} could not be downloaded ({error}); download it on another machine, and name "
            "the file by model.network.pretrained=FILE"
        ) from error
    return file


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    """Read tensors by name from a pickle or safetensors file, running no code in it."""
    if not file.is_file():
        raise FileNotFoundError(
            f"the backbone weights {file} are missing; model.network.pretrained expects true, "
            "false, a file, or an address that begins with https://"
        )
    try:
        state: dict[str, Tensor] = load_state_dict(str(file), weights_only=True)
    except Exception as error:  # torch raises errors of many types for other kinds of files
        why = str(error).splitlines()[0]
        raise ValueError(
            f"{file} holds no tensors that can be read ({why}); expected a PyTorch or safetensors "
            "file of the weights of an HRNet"
        ) from error
    return state


def _is_reachable(address: str) -> bool:
    """Whether somebody listens at an address; behind a proxy nobody knows."""
    there = urlsplit(address)
    if getproxies():
        return True
    try:
        port = there.port or (443 if there.scheme == "https" else 80)
        create_connection((there.hostname or "", port), timeout=_TIMEOUT).close()
    except OSError:
        return False
    return True


def _is_unchanged(key: str, value: Tensor, before: dict[str, Tensor]) -> bool:
    """Whether loading left a tensor as it was made (counters of batches may be 0 in both)."""
    return not key.endswith(_BATCH_COUNTER) and torch.equal(value, before[key])
