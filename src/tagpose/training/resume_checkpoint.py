"""Resuming: the checkpoint from which a run continues, and its fit to the configuration."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import torch
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from torch import Tensor

from tagpose.io import remove_stale_files
from tagpose.models.checkpoint import read_checkpoint, read_tensors
from tagpose.models.network import PoseNetwork

_TEMPORARY: Final = "*.tmp.ckpt"  # files that `atomic_write` leaves if its process is killed
_AUTO: Final = "auto"


def read_global_step(file: Path) -> int:
    """Read the number of training steps of a checkpoint, after checking the whole file for damage.

    Raises:
        ValueError: if the file is damaged or contains no state of a training run.
    """
    try:
        with ZipFile(file) as opened:
            damaged = opened.testzip()
    except Exception as error:  # see `read_tensors`
        raise ValueError(f"{file} is not a complete checkpoint: {error}") from error
    content = read_tensors(file, mmap=True)
    if damaged or not isinstance(content, dict) or "global_step" not in content:
        raise ValueError(f"{file} is not a complete checkpoint of a training run")
    return int(content["global_step"])


def find_latest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint with the most steps in a folder; warn about damaged ones.

    Args:
        folder: folder of a run, which may be missing.

    Returns:
        The checkpoint, or None if the folder has none.

    Raises:
        ValueError: all checkpoints are damaged.
    """
    steps = {}
    for file in sorted(folder.glob("*.ckpt")):
        try:
            steps[file] = read_global_step(file)
        except ValueError as error:
            rank_zero_warn(f"skipped a damaged checkpoint: {error}")
    if not steps and any(folder.glob("*.ckpt")):
        raise ValueError(
            f"all checkpoints in {folder} are damaged; start a new run with another run=NAME"
        )
    return max(steps, key=lambda file: steps[file], default=None)


def find_resume_checkpoint(resume: str | None, folder: Path, *, is_named: bool) -> Path | None:
    """Return the checkpoint to resume from, or None for a new run.

    Args:
        resume: a checkpoint, or auto for the latest one of the folder.
        folder: folder of the run.
        is_named: whether the same command would use the same folder again.

    Raises:
        ValueError: the folder is ambiguous, or has checkpoints that would be overwritten.
    """
    is_worker = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_PROCID", 0)) > 0
    if not is_named and (resume == _AUTO or is_worker):
        raise ValueError(
            "the run has no name, which resume=auto and runs of several processes need to find "
            "their folder; set run=NAME"
        )
    if resume == _AUTO:
        latest = find_latest_checkpoint(folder)
        status = f"Resuming from {latest}" if latest else f"Starting a new run in {folder}"
        rank_zero_only(print)(status)
        return latest
    file = Path(resume) if resume else None
    is_inside = file is not None and file.resolve().parent == folder.resolve()
    if any(folder.glob("*.ckpt")) and not is_inside:
        raise ValueError(
            f"{folder} has checkpoints of an earlier run; set resume=auto to resume it, or another "
            "run=NAME to start a new one"
        )
    return file


def remove_temporary_checkpoints(folder: Path) -> None:
    """Remove the temporary checkpoints of killed processes."""
    remove_stale_files(folder, _TEMPORARY)


def check_resumable(network: PoseNetwork, file: Path) -> None:
    """Check that a training run with this network can be resumed from a checkpoint.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is not a checkpoint, contains no training state, or belongs to a
            network with another architecture, skeleton, `subpixel`, `tag_sharing` or
            `spatial_tags`.
    """
    source_spec, _, resumable = read_checkpoint(file)
    target_spec = network.spec
    advice = "resume with the same, or start a new run from its weights with init_from"
    if source_spec[:2] != target_spec[:2]:  # the input size may differ
        raise ValueError(f"{file} contains {source_spec}, but the model is {target_spec}; {advice}")
    for option in ("subpixel", "tag_sharing", "spatial_tags"):
        source, target = getattr(source_spec, option), getattr(target_spec, option)
        if source != target:
            raise ValueError(
                f"{file} was trained with model.network.{option}={source}, but the model has "
                f"{option}={target}; {advice}"
            )
    if not resumable:
        raise ValueError(
            f"{file} contains weights but no training state, so it cannot be resumed; start a new "
            "run from its weights with init_from"
        )


def update_optimizer_state(
    checkpoint: dict[str, Any], param_groups: Sequence[dict[str, Any]]
) -> None:
    """Apply configured optimizer options to a checkpoint, so that a run resumes with them.

    Args:
        checkpoint: checkpoint of a run; its optimizer and scheduler states are changed in place.
        param_groups: parameter groups of the configured optimizer.

    Raises:
        ValueError: the optimizer of the checkpoint is of another class.
    """
    for optimizer in checkpoint.get("optimizer_states", ()):
        for moments in optimizer["state"].values():
            _to_channels_last(moments)
        for before, now in zip(optimizer["param_groups"], param_groups, strict=True):
            _update_param_group(before, now)
    for scheduler in checkpoint.get("lr_schedulers", ()):
        scheduler["base_lrs"] = [group["lr"] for group in param_groups]


def _to_channels_last(moments: dict[str, Any]) -> None:
    """Convert moments to the memory format of the weights, which fused optimizers require."""
    for name, value in moments.items():
        if isinstance(value, Tensor) and value.ndim == 4:
            moments[name] = value.contiguous(memory_format=torch.channels_last)


def _update_param_group(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Set the options of a parameter group; its learning rate keeps its place in the schedule."""
    unknown = sorted(before.keys() - now.keys() - {"params", "initial_lr"})
    if unknown:
        raise ValueError(
            f"the optimizer of the checkpoint has the options {', '.join(unknown)}, which the "
            "configured one does not have; resume with the same optimizer, or use init_from to "
            "load the weights only"
        )
    scale = now["lr"] / (before.get("initial_lr") or now["lr"])  # exactly 1 if unchanged
    rates = {"lr": scale * before["lr"], "initial_lr": now["lr"]}
    before.update(now | {"params": before["params"]} | rates)
