"""This file says how the learning rate goes: a factor for every share of the training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import Tensor

# MERGED: """This file has a run go on with the moments of a checkpoint, and with options of today."""
_EXPONENTS: Final = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass(frozen=True)
class LRScaling:
    """How the learning rate follows the images of a step, over all processes and added batches.

    Attributes:
        rule: "none" leaves it as it is, "linear" follows Goyal 2017, "sqrt" Malladi 2022, which is
            derived for Adam.
        base_batch_size: of the step that the configured rate is for; published is 8 x 24.

    Raises:
        ValueError: there is no such rule.
    """

    rule: str = "none"
    base_batch_size: int = 192

    def __post_init__(self) -> None:
        if self.rule not in _EXPONENTS:
            raise ValueError(f"the scaling {self.rule!r} is none of {', '.join(_EXPONENTS)}")

    def __call__(self, images: int) -> float:
        """Factor of the learning rate for a step of so many images."""
        return float((images / self.base_batch_size) ** _EXPONENTS[self.rule])

    def mismatch(self, images: int) -> str | None:
        """Return a warning if no rule adapts the learning rate to a step of so many images."""
        if self.rule != "none" or images == self.base_batch_size:
            return None
        return (
            f"an optimizer step has {images} images, but the learning rate is for {self.base_batch_size}; "
            f"accumulate or use more devices until a step has {self.base_batch_size} "
            "(trainer.accumulate_grad_batches), choose a rule that scales the rate "
            "(optimization.lr_scaling.rule=linear or sqrt), or state that the rate is for this batch "
            f"(optimization.lr_scaling.base_batch_size={images})"
        )


class LRSchedule(Protocol):
    """A factor of the learning rate for a step out of a number of steps."""

    def __call__(self, step: int, steps: int) -> float: ...


@dataclass(frozen=True)
class WarmupMultiStep:
    """The published schedule: a linear warm-up, then a fall by `gamma` at each milestone.

    Attributes:
        milestones: as shares of the training; the published ones are epochs 200 and 260 of 300.
        gamma: that each milestone multiplies with.
        warmup_steps: steps until the full learning rate.
    """

    milestones: Sequence[float] = field(default=(200 / 300, 260 / 300))
    gamma: float = 0.1
    warmup_steps: int = 500

    def __call__(self, step: int, steps: int) -> float:
        passed = sum(step >= share * steps for share in self.milestones)
        return _linear_warmup(step, self.warmup_steps) * self.gamma**passed


@dataclass(frozen=True)
class WarmupCosine:
    """A linear warm-up, then half a cosine wave down to `min_factor`.

    Attributes:
        warmup_steps: steps until the full learning rate.
        min_factor: factor at the end.
    """

    warmup_steps: int = 500
    min_factor: float = 0.0

    def __call__(self, step: int, steps: int) -> float:
        if step < self.warmup_steps:
            return _linear_warmup(step, self.warmup_steps)
        share = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return (
            self.min_factor + (1 - self.min_factor) * (1 + math.cos(math.pi * min(1.0, share))) / 2
        )


def _linear_warmup(step: int, warmup_steps: int) -> float:
    """A line from nearly 0 at the first step to 1 at step `warmup_steps`."""
    return min(1.0, (step + 1) / max(1, warmup_steps))


def update_optimizer_state(
    checkpoint: dict[str, Any], param_groups: Sequence[dict[str, Any]]
) -> None:
    """Change a checkpoint so that a run goes on with its moments, and with other options.

    Args:
        checkpoint: of a run; its optimiser and its schedule are changed in place.
        param_groups: of the parameters of an optimiser that was made as the configuration says.

    Raises:
        ValueError: the checkpoint's is an optimiser of another kind, with moments of its own.
    """
    for optimizer in checkpoint.get("optimizer_states", ()):
        for moments in optimizer["state"].values():
            _to_channels_last(moments)
        for before, now in zip(optimizer["param_groups"], param_groups, strict=True):
            _update_param_group(before, now)
    for scheduler in checkpoint.get("lr_schedulers", ()):
        scheduler["base_lrs"] = [group["lr"] for group in param_groups]


def _to_channels_last(moments: dict[str, Any]) -> None:
    """Lay moments in memory as weights lie, side by side with which a fused optimiser reads."""
    for name, value in moments.items():
        if isinstance(value, Tensor) and value.ndim == 4:
            moments[name] = value.contiguous(memory_format=torch.channels_last)


def _update_param_group(before: dict[str, Any], now: dict[str, Any]) -> None:
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
