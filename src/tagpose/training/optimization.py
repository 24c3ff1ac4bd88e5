"""Learning-rate schedules, and scaling with the batch size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

_EXPONENTS: Final = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass(frozen=True)
class LRScaling:
    """Scale the learning rate with the effective batch size.

    The effective batch size is the number of images in an optimizer step, over all processes and
    accumulated batches.

    Attributes:
        rule: "none" does not scale, "linear" follows Goyal 2017, "sqrt" follows Malladi 2022, who
            derive it for Adam.
        base_batch_size: effective batch size for which the learning rate is configured; MMPose
            uses 8 x 24.

    Raises:
        ValueError: the rule is unknown.
    """

    rule: str = "none"
    base_batch_size: int = 192

    def __post_init__(self) -> None:
        if self.rule not in _EXPONENTS:
            raise ValueError(
                f"unknown scaling rule {self.rule!r}; use one of {', '.join(_EXPONENTS)}"
            )

    def __call__(self, images: int) -> float:
        """Return the factor of the learning rate for an effective batch size."""
        return float((images / self.base_batch_size) ** _EXPONENTS[self.rule])

    def mismatch_warning(self, images: int) -> str | None:
        """Return a warning if no rule adapts the learning rate to an effective batch size."""
        if self.rule != "none" or images == self.base_batch_size:
            return None
        return (
            f"an optimizer step has {images} images, but the learning rate is for "
            f"{self.base_batch_size}; accumulate batches or use more devices "
            "(trainer.accumulate_grad_batches, trainer.devices), scale the learning rate "
            "(optimization.lr_scaling.rule=linear or sqrt), or declare that it is for this batch "
            f"size (optimization.lr_scaling.base_batch_size={images})"
        )


class LRSchedule(Protocol):
    """Function that returns the factor of the learning rate for a step of a total of steps."""

    def __call__(self, step: int, steps: int) -> float: ...


@dataclass(frozen=True)
class WarmupMultiStep:
    """Linear warm-up, then a decay by `gamma` at each milestone, as in MMPose.

    Attributes:
        milestones: fractions of the training; MMPose decays after epochs 200 and 260 of 300.
        gamma: factor at each milestone.
        warmup_steps: number of steps until the full learning rate is reached.
    """

    milestones: Sequence[float] = field(default=(200 / 300, 260 / 300))
    gamma: float = 0.1
    warmup_steps: int = 500

    def __call__(self, step: int, steps: int) -> float:
        decays = sum(step >= fraction * steps for fraction in self.milestones)
        return _linear_warmup(step, self.warmup_steps) * self.gamma**decays


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up, then cosine decay to `min_factor`.

    Attributes:
        warmup_steps: number of steps until the full learning rate is reached.
        min_factor: factor at the end.
    """

    warmup_steps: int = 500
    min_factor: float = 0.0

    def __call__(self, step: int, steps: int) -> float:
        if step < self.warmup_steps:
            return _linear_warmup(step, self.warmup_steps)
        fraction = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
        return self.min_factor + (1 - self.min_factor) * (1 + math.cos(math.pi * fraction)) / 2


def _linear_warmup(step: int, warmup_steps: int) -> float:
    """Return a factor that rises linearly from about 0 at the first step to 1."""
    return min(1.0, (step + 1) / max(1, warmup_steps))
