"""Bottom-up whole-body pose: HRNet and Associative Embedding."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor as Predictor

# albumentations asks the network for a newer version of itself in every process that imports it
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def __getattr__(name: str) -> Any:
    """The front door; opened late, as most programs of the package need only a part of it."""
    if name != "Predictor":
        raise AttributeError(f"tagpose has no {name!r}; `from tagpose import Predictor` is there")
    from tagpose.inference.predictor import Predictor

    return Predictor
