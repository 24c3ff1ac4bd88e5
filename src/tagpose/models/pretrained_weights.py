"""Pretrained weights of the backbone: ImageNet weights of timm, or weights from a file or URL.

timm is imported only to load weights, because it takes longer to import than everything else that
a prediction needs.
"""

import logging
from pathlib import Path
from socket import create_connection
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import Tensor, hub, nn

_MMPOSE_PREFIX: Final = "backbone."  # of backbone tensors in MMPose checkpoints
_BATCH_COUNTER: Final = "num_batches_tracked"  # suffix of tensors that old files lack
_TIMEOUT: Final = 5  # seconds to connect to the Hugging Face Hub


def load_imagenet_weights(network: nn.Module, name: str) -> None:
    """Load timm's ImageNet weights, and check that all tensors changed.

    timm loads the tensors that fit and only logs the others, so loading can fail silently.
    """
    from huggingface_hub import constants
    from timm.models import get_pretrained_cfg, load_pretrained

    if not _is_hub_reachable(constants.ENDPOINT):
        # otherwise the hub is retried for a minute; offline mode uses the cache
        constants.HF_HUB_OFFLINE = True
    weights: Any = get_pretrained_cfg(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)  # it lists every unused key
    try:
        load_pretrained(network, weights.to_dict(), strict=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"ImageNet weights of {name} could not be downloaded ({type(error).__name__}); go "
            "online once, set HF_HOME to a cache that contains them, or train without them with "
            "model.network.pretrained=false"
        ) from error
    state = network.state_dict()
    unchanged = [key for key, value in state.items() if _is_unchanged(key, value, before)]
    if unchanged:
        raise RuntimeError(
            f"the ImageNet weights of {name} contain no values for {len(unchanged)} of "
            f"{len(before)} tensors, such as {unchanged[0]}; they belong to another network, so "
            "remove them from the cache of Hugging Face"
        )


def load_weights_file(network: nn.Module, name: str, source: str) -> None:
    """Load the backbone's tensors from a file or an address; other tensors are ignored."""
    state = _read_state_dict(_local_file(source))
    state = {key.removeprefix(_MMPOSE_PREFIX): value for key, value in state.items()}
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith(_BATCH_COUNTER)}
    faulty = [k for k, v in expected.items() if k not in state or state[k].shape != v.shape]
    if faulty:
        raise ValueError(
            f"{source} has {len(expected) - len(faulty)} of the {len(expected)} tensors of {name}, "
            f"and {faulty[0]} is missing or has another shape; expected weights of {name}, so set "
            "model.network.pretrained=FILE to such a file"
        )
    network.load_state_dict({key: state[key] for key in expected}, strict=False)


def _local_file(source: str) -> Path:
    """Return the file at a path, or that of an https address, which is downloaded and cached."""
    if not source.startswith("https://"):
        return Path(source)
    file = Path(hub.get_dir()) / "checkpoints" / Path(urlsplit(source).path).name
    if file.exists():
        return file
    digits = hub.HASH_REGEX.search(file.name)  # SHA-256 prefix, as in hrnet_w32-36af842e.pth
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        hub.download_url_to_file(source, str(file), digits and digits[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"{source} could not be downloaded ({error}); download it on another machine and set "
            "model.network.pretrained=FILE"
        ) from error
    return file


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    """Read tensors by name from a pickle or safetensors file, without running code in it."""
    from timm.models import load_state_dict

    if not file.is_file():
        raise FileNotFoundError(
            f"backbone weights {file} are missing; model.network.pretrained expects true, false, a "
            "file, or an address that begins with https://"
        )
    try:
        state: dict[str, Tensor] = load_state_dict(str(file), weights_only=True)
    except Exception as error:  # torch raises errors of many types for other kinds of files
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{file} cannot be read as tensors ({reason}); expected a PyTorch or safetensors file "
            "of HRNet weights"
        ) from error
    return state


def _is_hub_reachable(address: str) -> bool:
    """Return whether an address accepts connections; always True with a proxy."""
    parts = urlsplit(address)
    if getproxies():
        return True
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        create_connection((parts.hostname or "", port), timeout=_TIMEOUT).close()
    except OSError:
        return False
    return True


def _is_unchanged(key: str, value: Tensor, before: dict[str, Tensor]) -> bool:
    """Return whether loading left a tensor unchanged; batch counters may be 0 in both states."""
    return not key.endswith(_BATCH_COUNTER) and torch.equal(value, before[key])
