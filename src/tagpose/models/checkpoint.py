"""Reading, loading and writing of checkpoints, in the formats of this project and of MMPose.

Files cannot run code when they are read: pickles are loaded with `weights_only`, and safetensors
contain no code.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from shutil import disk_usage
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tagpose.io import atomic_write
from tagpose.models.mmpose_weights import from_mmpose, is_mmpose, to_mmpose
from tagpose.models.network import ModelSpec, PoseNetwork, spec_from_dict
from tagpose.skeletons.skeleton import TAG_PER_KEYPOINT

SPEC_KEY: Final = "network"  # key of the `ModelSpec` in a checkpoint
_METADATA_KEY: Final = "tagpose"  # key of the `ModelSpec` in the metadata of safetensors
_PREFIX: Final = "network."  # attribute of the network in the LightningModule
_scalar = np.float64().__reduce__()[0]
# Functions and types in pickles of NumPy scalars, such as the best AP in MMPose checkpoints. NumPy
# 1 used another module name for the function.
_SAFE_GLOBALS: Final[list[Any]] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]


class CheckpointContent(NamedTuple):
    """Network specification and weights in a file."""

    spec: ModelSpec
    state: dict[str, Tensor]  # by the names of `PoseNetwork`
    resumable: bool  # whether the file also contains the state of a training run


def read_checkpoint(file: Path) -> CheckpointContent:
    """Read the network of a checkpoint of this project or of MMPose.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is not a checkpoint, is incomplete, or contains an unknown network.
    """
    content = read_tensors(Path(file))
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{file} is not a checkpoint: it contains no tensors by name")
    if SPEC_KEY in content:
        return _parse_own_checkpoint(file, content, state)
    if not is_mmpose(state):
        raise ValueError(
            f"{file} is neither a tagpose checkpoint, which names its network, nor an MMPose "
            "checkpoint, whose tensors are named backbone. and keypoint_head."
        )
    try:
        meta = content.get("meta", {})
        spec = spec_from_dict(meta) if "architecture" in meta else None
        return CheckpointContent(*from_mmpose(state, spec), resumable=False)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def load_network(file: Path) -> PoseNetwork:
    """Load the network of a checkpoint of this project or of MMPose, for inference.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is not a checkpoint, or its tensors do not fit its network.
    """
    source_spec, state, _ = read_checkpoint(file)
    with torch.device("meta"):  # skips the initialization of weights
        network = PoseNetwork(**source_spec._asdict())
    missing, unexpected = load_state(network, state, file, assign=True)
    if missing or unexpected:
        raise ValueError(
            f"{file} lacks {len(missing)} tensors of {source_spec.architecture} and has "
            f"{len(unexpected)} unexpected ones, such as {[*missing, *unexpected][0]}; use a "
            "complete checkpoint"
        )
    # assigned tensors have the precision and memory format of the file
    return network.float().to(memory_format=torch.channels_last).eval()


def load_state(
    network: PoseNetwork, state: Mapping[str, Tensor], file: Path, *, assign: bool = False
) -> tuple[list[str], list[str]]:
    """Load tensors into a network, and return the names of missing and unexpected ones."""
    try:
        missing, unexpected = network.load_state_dict(state, strict=False, assign=assign)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(
            f"{file} does not contain the {network.architecture} that it names: {first}; use a "
            "complete checkpoint"
        ) from error
    return missing, unexpected


def write_checkpoint(file: Path, network: PoseNetwork) -> None:
    """Write weights as a checkpoint of this project, atomically."""
    state = {_PREFIX + key: value for key, value in network.state_dict().items()}
    content = {"state_dict": state, SPEC_KEY: network.spec.to_dict()}
    write_torch(file, content)


def write_mmpose_checkpoint(file: Path, network: PoseNetwork) -> None:
    """Write weights in the format of MMPose, atomically.

    Args:
        file: file to write; safetensors if its suffix is .safetensors, else a pickle.
        network: network of any skeleton.

    Raises:
        ValueError: if the network has spatial tags.
    """
    state = to_mmpose(network.state_dict(), network.spec)
    spec = network.spec._replace(tag_sharing=TAG_PER_KEYPOINT).to_dict()
    if file.suffix == ".safetensors":
        with atomic_write(file) as partial:
            # metadata of safetensors must be strings
            save_file(state, partial, metadata={_METADATA_KEY: json.dumps(spec)})
    else:
        meta = {"CLASSES": ("person",), **spec}
        content = {"meta": meta, "state_dict": state}
        write_torch(file, content)


def write_torch(file: Path, content: dict[str, Any], *, fsync: bool = False) -> None:
    """Write a pickle atomically; its bytes only depend on the content.

    Args:
        file: file to write.
        content: tensors, numbers and strings, and lists and dicts of them.
        fsync: see `atomic_write`.

    Raises:
        OSError: if the disk is full or read-only.
    """
    try:
        with atomic_write(file, fsync=fsync) as partial, partial.open("wb") as opened:
            stream: Any = _ErrorCapturingStream(opened)
            try:
                torch.save(content, stream)  # given a path, torch would also store the file name
            except RuntimeError:
                raise stream.error or RuntimeError(f"{file} cannot be written") from None
    except OSError as error:
        folder = next(parent for parent in file.absolute().parents if parent.is_dir())
        free_megabytes = disk_usage(folder).free / 1e6
        raise OSError(
            f"{file} cannot be written ({error.strerror}), with {free_megabytes:.0f} MB free; "
            "free disk space or choose another folder (existing files are unchanged)"
        ) from error


class _ErrorCapturingStream:
    """Stream that stores the error of a failed write, which torch does not report."""

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


def read_tensors(file: Path, *, mmap: bool = False) -> Any:
    """Read the content of a file of tensors, on the CPU.

    Args:
        file: pickle of torch, or safetensors.
        mmap: whether to map tensors into memory instead of reading them.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is incomplete or contains objects other than tensors and numbers.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"checkpoint {file} is missing; use an existing file, such as one in runs/, or a model "
            "that `tagpose models` lists"
        )
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                meta = json.loads((opened.metadata() or {}).get(_METADATA_KEY, "{}"))
            return {"meta": meta, "state_dict": load_file(file)}
        with torch.serialization.safe_globals(_SAFE_GLOBALS):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} is not a complete checkpoint, or its pickle contains objects other than "
            "tensors and numbers, which are not loaded; ask the author for a safetensors file"
        ) from error
    except Exception as error:  # torch raises errors of many types for invalid files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file} is not a complete checkpoint: {reason}") from error


def _parse_own_checkpoint(
    file: Path, content: dict[str, Any], state: dict[str, Tensor]
) -> CheckpointContent:
    """Return the spec and the network's tensors of a checkpoint of this project."""
    try:
        spec = spec_from_dict(content[SPEC_KEY])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    state = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
    return CheckpointContent(spec, state, resumable="optimizer_states" in content)
