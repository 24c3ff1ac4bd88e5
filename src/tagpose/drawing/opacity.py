"""This file says how opaque something is by how sure it is."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

# What the target of a heatmap, exp(-d^2 / 2 sigma^2), is one sigma beside its keypoint: a network
# that scores as much is as sure as one whose heatmap is right, and a standard deviation off.
_SURE: Final = math.exp(-0.5)


@dataclass(frozen=True)
class Opacity:
    """A straight line between the score of the faintest and that of the fully opaque.

    Calling it takes scores [...] to opacities [...] between `least` and 1.

    Attributes:
        unsure: score of a heatmap, from 0 to 1, up to which all are drawn as faint; that of the
            least peak that the decoder takes.
        sure: score from which all is fully opaque.
        least: opacity of the faintest.
    """

    unsure: float = 0.1
    sure: float = _SURE
    least: float = 0.15

    def __post_init__(self) -> None:
        if not (self.unsure < self.sure and 0 <= self.least <= 1):
            raise ValueError(f"{self}: `unsure` must be below `sure`, and `least` from 0 to 1")

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        return np.interp(scores, (self.unsure, self.sure), (self.least, 1.0))
