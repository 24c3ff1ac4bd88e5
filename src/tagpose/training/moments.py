"""This file has a run go on with the moments of a checkpoint, and with options of today."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def adopt(checkpoint: dict[str, Any], groups: Sequence[dict[str, Any]]) -> None:
    """Change a checkpoint so that a run goes on with its moments, and with other options.

    Args:
        checkpoint: of a run; its optimiser and its schedule are changed in place.
        groups: of the parameters of an optimiser that was made as the configuration says.

    Raises:
        ValueError: the checkpoint's is an optimiser of another kind, with moments of its own.
    """
    for optimizer in checkpoint.get("optimizer_states", ()):
        for moments in optimizer["state"].values():
            _lay_as_weights(moments)
        for before, now in zip(optimizer["param_groups"], groups, strict=True):
            _take_options(before, now)
    for scheduler in checkpoint.get("lr_schedulers", ()):
        scheduler["base_lrs"] = [group["lr"] for group in groups]


def _lay_as_weights(moments: dict[str, Any]) -> None:
    """Lay moments in memory as weights lie, side by side with which a fused optimiser reads."""
    for name, value in moments.items():
        if isinstance(value, Tensor) and value.ndim == 4:
            moments[name] = value.contiguous(memory_format=torch.channels_last)


def _take_options(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Give a group of parameters the options of another; a rate stays where its schedule is."""
    others = sorted(before.keys() - now.keys() - {"params", "initial_lr"})
    if others:
        raise ValueError(
            f"the checkpoint's optimiser has {', '.join(others)}, which the configured one has not;"
            " resume goes on with the same kind, init_from starts from its weights"
        )
    scale = now["lr"] / (before.get("initial_lr") or now["lr"])  # exactly 1 where it is the same
    rates = {"lr": scale * before["lr"], "initial_lr": now["lr"]}
    before.update(now | {"params": before["params"]} | rates)
