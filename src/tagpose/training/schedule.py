"""This file says how the learning rate goes: a factor for every share of the training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

_POWERS: Final = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass(frozen=True)
class Scaling:
    """How the learning rate follows the images of a step, over all processes and added batches.

    Attributes:
        rule: "none" leaves it as it is, "linear" follows Goyal 2017, "sqrt" Malladi 2022, which is
            derived for Adam.
        images: of the step that the configured rate is for; published is 8 x 24.

    Raises:
        ValueError: there is no such rule.
    """

    rule: str = "none"
    images: int = 192

    def __post_init__(self) -> None:
        if self.rule not in _POWERS:
            raise ValueError(f"the scaling {self.rule!r} is none of {', '.join(_POWERS)}")

    def __call__(self, images: int) -> float:
        """Factor of the learning rate for a step of so many images."""
        return float((images / self.images) ** _POWERS[self.rule])

    def mismatch(self, images: int) -> str | None:
        """Return a warning if no rule adapts the learning rate to a step of so many images."""
        if self.rule != "none" or images == self.images:
            return None
        return (
            f"an optimizer step has {images} images, but the learning rate is for {self.images}; "
            f"accumulate or use more devices until a step has {self.images} "
            "(trainer.accumulate_grad_batches), choose a rule that scales the rate "
            "(optimization.scaling.rule=linear or sqrt), or state that the rate is for this batch "
            f"(optimization.scaling.images={images})"
        )


class Schedule(Protocol):
    """A factor of the learning rate for a step out of a number of steps."""

    def __call__(self, step: int, steps: int) -> float: ...


@dataclass(frozen=True)
class StepDecay:
    """The published schedule: a linear warm-up, then a fall by `factor` at each milestone.

    Attributes:
        milestones: as shares of the training; the published ones are epochs 200 and 260 of 300.
        factor: that each milestone multiplies with.
        warmup: steps until the full learning rate.
    """

    milestones: Sequence[float] = field(default=(200 / 300, 260 / 300))
    factor: float = 0.1
    warmup: int = 500

    def __call__(self, step: int, steps: int) -> float:
        passed = sum(step >= share * steps for share in self.milestones)
        return _rising(step, self.warmup) * self.factor**passed


@dataclass(frozen=True)
class Cosine:
    """A linear warm-up, then half a cosine wave down to `floor`.

    Attributes:
        warmup: steps until the full learning rate.
        floor: factor at the end.
    """

    warmup: int = 500
    floor: float = 0.0

    def __call__(self, step: int, steps: int) -> float:
        if step < self.warmup:
            return _rising(step, self.warmup)
        share = (step - self.warmup) / max(1, steps - self.warmup)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def _rising(step: int, warmup: int) -> float:
    """A line from nearly 0 at the first step to 1 at step `warmup`."""
    return min(1.0, (step + 1) / max(1, warmup))
