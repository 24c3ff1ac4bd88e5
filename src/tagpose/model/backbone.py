"""This file makes HRNet backbones (Sun 2019) from timm, cut down to their stride-4 branch."""

import logging
from socket import create_connection
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import constants
from timm.models import load_pretrained
from torch import Tensor, nn

_FAMILY: Final = "hrnet_"
_PATIENCE: Final = 5  # seconds for the hub to answer


def hrnet(name: str, *, pretrained: bool = False) -> tuple[nn.Module, int]:
    """An HRNet that returns a list of one map [B, C, H / 4, W / 4], its finest branch; and C.

    The branch is raw, before the classification head's widening, as in the published pose
    networks. What only the coarser branches' outputs need is cut off, so that every parameter
    receives a gradient.

    Args:
        name: a model of timm, such as "hrnet_w32".
        pretrained: whether to load ImageNet weights, which timm fetches or finds in its cache.

    Raises:
        ValueError: timm has no such HRNet.
        RuntimeError: the weights could not be fetched, or did not fit.
    """
    known = timm.list_models(f"{_FAMILY}*")
    if name.split(".")[0] not in known:
        raise ValueError(f"model {name!r} is no HRNet of timm; there are {', '.join(known)}")
    # the features_only form keeps the branches; index 1 is stride 4 (0 is the stem)
    network: Any = timm.create_model(
        name, features_only=True, feature_location="", out_indices=(1,)
    )
    if pretrained:
        _load_imagenet(network, name)
    last = network.stage4[-1]
    last.fuse_layers = nn.ModuleList([last.fuse_layers[0]])
    return network, network.feature_info.channels()[0]


def _load_imagenet(network: Any, name: str) -> None:
    """Load timm's ImageNet weights, and see that they arrived.

    timm loads what fits and only warns of the rest, so each tensor is compared with itself before.
    """
    if not _reachable(constants.ENDPOINT):
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
    same = [key for key, value in network.state_dict().items() if _untouched(key, value, before)]
    if same:
        raise RuntimeError(
            f"the file of ImageNet weights of {name} left {len(same)} of {len(before)} tensors as"
            f" they were, {same[0]} the first; it belongs to another network"
        )


def _reachable(address: str) -> bool:
    """Whether somebody listens at an address; behind a proxy nobody knows."""
    there = urlsplit(address)
    if getproxies():
        return True
    try:
        port = there.port or (443 if there.scheme == "https" else 80)
        create_connection((there.hostname or "", port), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True


def _untouched(key: str, value: Tensor, before: dict[str, Tensor]) -> bool:
    """Whether loading left a tensor as it was made (counters of batches may be 0 in both)."""
    return not key.endswith("num_batches_tracked") and torch.equal(value, before[key])
