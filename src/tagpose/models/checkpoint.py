"""This file reads and writes files of weights: this project's checkpoints and the published layout.

Nothing that is read can run code: pickles are opened with `weights_only`, safetensors hold none.
"""

import json
import pickle
from pathlib import Path
from shutil import disk_usage
from typing import Any, BinaryIO, Final, NamedTuple
from zipfile import ZipFile

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tagpose.io import atomic_write
from tagpose.models.mmpose_weights import from_mmpose, is_mmpose, to_mmpose
from tagpose.models.network import ModelSpec, PoseNetwork, spec_from_dict
from tagpose.skeletons.skeleton import TAG_PER_KEYPOINT

SPEC_KEY: Final = "network"  # where a checkpoint says what network it is of
_METADATA_KEY: Final = "tagpose"  # where a published file of safetensors says it
_PREFIX: Final = "network."  # the network's name in the LightningModule
_scalar = np.float64().__reduce__()[0]
# What a number of numpy is pickled with: published checkpoints may keep their best AP as one. numpy
# 1 wrote another name of the function.
_SAFE_GLOBALS: Final[list[Any]] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]


class CheckpointContent(NamedTuple):
    """What a file holds of a network."""

    spec: ModelSpec
    state: dict[str, Tensor]  # named as `PoseNetwork` names them
    resumable: bool  # whether it also has what a run needs to go on


def read_checkpoint(file: Path) -> CheckpointContent:
    """The network's tensors in a checkpoint of this project, or in the published layout.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is neither, or not whole, or its network is unknown here.
    """
    content = read_tensors(Path(file))
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{file} holds no tensors by name; it is no checkpoint")
    if SPEC_KEY in content:
        return _parse_own_checkpoint(file, content, state)
    if not is_mmpose(state):
        raise ValueError(
            f"{file} is no checkpoint of tagpose, which would say which network it is, and has not"
            " the published layout, whose tensors are named backbone. and keypoint_head."
        )
    try:
        known_spec = (
            spec_from_dict(content["meta"]) if "architecture" in content.get("meta", {}) else None
        )
        return CheckpointContent(*from_mmpose(state, known_spec), resumable=False)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def write_checkpoint(file: Path, network: PoseNetwork) -> None:
    """Write weights as a checkpoint of this project, whole or not at all."""
    state = {_PREFIX + key: value for key, value in network.state_dict().items()}
    content = {"state_dict": state, SPEC_KEY: network.spec.to_dict()}
    write_torch(file, content)


def write_mmpose_checkpoint(file: Path, network: PoseNetwork) -> None:
    """Write weights in the published layout, whole or not at all.

    Args:
        file: its ending says in what: .safetensors, or a pickle that other programs load.
        network: of any skeleton.
    """
    state = to_mmpose(network.state_dict(), network.spec)
    spec = network.spec._replace(tag_sharing=TAG_PER_KEYPOINT).to_dict()
    if file.suffix == ".safetensors":
        with atomic_write(file) as partial:
            # of a safetensors file, names and values are text
            save_file(state, partial, metadata={_METADATA_KEY: json.dumps(spec)})
    else:
        meta = {"CLASSES": ("person",), **spec}
        content = {"meta": meta, "state_dict": state}
        write_torch(file, content)


def write_torch(file: Path, content: dict[str, Any], *, fsync: bool = False) -> None:
    """Write a pickle whose bytes depend on the content alone, whole or not at all.

    Args:
        file: to write.
        content: tensors, numbers, texts; lists and dicts of them.
        fsync: see `atomic_write`.

    Raises:
        OSError: the disk is full or may not be written.
    """
    try:
        with atomic_write(file, fsync=fsync) as partial, partial.open("wb") as opened:
            stream: Any = _ErrorCapturingStream(opened)
            try:
                torch.save(content, stream)  # to a file it would write down the file's name, too
            except RuntimeError:
                raise stream.error or RuntimeError(f"{file} cannot be written") from None
    except OSError as error:
        there = next(parent for parent in file.absolute().parents if parent.is_dir())
        raise OSError(
            f"{file} cannot be written ({error.strerror}), with {disk_usage(there).free / 1e6:.0f} "
            "MB free; what was there before is left as it is"
        ) from error


class _ErrorCapturingStream:
    """A stream that remembers why it could not be written; torch only says that it was short."""

    def __init__(self, opened: BinaryIO) -> None:
        self.opened = opened
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self.opened.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.opened.flush()


def read_global_step(file: Path) -> int:
    """The steps that a checkpoint of a run has taken, after reading it through for damage.

    Raises:
        ValueError: it is not whole, or has no state of a run.
    """
    try:
        with ZipFile(file) as opened:
            damaged = opened.testzip()
    except Exception as error:  # as of `read_tensors`
        raise ValueError(f"{file} is no whole checkpoint: {error}") from error
    content = read_tensors(file, mmap=True)
    if damaged or not isinstance(content, dict) or "global_step" not in content:
        raise ValueError(f"{file} is no whole checkpoint of a run")
    return int(content["global_step"])


def read_tensors(file: Path, *, mmap: bool = False) -> Any:
    """What a file of tensors holds, on the CPU.

    Args:
        file: a pickle of torch, or safetensors.
        mmap: whether tensors stay in the file until they are looked at.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not whole, or holds more than tensors and numbers.
    """
    if not file.is_file():
        raise FileNotFoundError(f"checkpoint {file} is missing; runs/ holds those made here")
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                meta = json.loads((opened.metadata() or {}).get(_METADATA_KEY, "{}"))
            return {"meta": meta, "state_dict": load_file(file)}
        with torch.serialization.safe_globals(_SAFE_GLOBALS):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} is no whole checkpoint, or its pickle holds more than tensors and numbers, "
            "which is not loaded; ask whoever made it for safetensors"
        ) from error
    except Exception as error:  # what bytes that are no pickle lead torch to is anybody's guess
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file} is no whole checkpoint: {why}") from error


def _parse_own_checkpoint(
    file: Path, content: dict[str, Any], state: dict[str, Tensor]
) -> CheckpointContent:
    """The tensors of a checkpoint of this project that are the network's."""
    try:
        known = spec_from_dict(content[SPEC_KEY])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    own = {
        key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)
    }
    return CheckpointContent(known, own, resumable="optimizer_states" in content)
