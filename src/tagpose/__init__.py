"""Bottom-up whole-body pose: HRNet and Associative Embedding."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor as Predictor

# albumentations asks the network for a newer version of itself in every process that imports it
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# How long a thread of torch (GNU OpenMP) spins at the end of an operation before it sleeps. When
# another program uses the same cores, a forward pass of HRNet takes 6 to 10 s with the default of
# 300,000 and 2 s with 2,000: spinning threads occupy the cores that the others need. It only takes
# effect if tagpose is imported before torch; the Makefile sets it for all programs.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def __getattr__(name: str) -> Any:
    """The front door; opened late, as most programs of the package need only a part of it."""
    if name != "Predictor":
        raise AttributeError(f"tagpose has no {name!r}; `from tagpose import Predictor` is there")
    from tagpose.inference.predictor import Predictor

    return Predictor
