"""Bottom-up whole-body pose estimation with HRNet and Associative Embedding."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor as Predictor

# every process that imports albumentations would check online for a newer version of it
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Iterations that a thread of torch (GNU OpenMP) spins after an operation before it sleeps.
# When another program uses the same cores, a forward pass of HRNet takes 6 to 10 s with the default
# of 300,000 and 2 s with 2,000, because spinning threads occupy the cores that others need. It only
# takes effect if tagpose is imported before torch; the Makefile sets it for all programs.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def __getattr__(name: str) -> Any:
    """Import `Predictor` on first access, because most programs need only part of the package."""
    if name != "Predictor":
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; use `from tagpose import Predictor`"
        )
    from tagpose.inference.predictor import Predictor

    return Predictor
