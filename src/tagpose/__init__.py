"""Bottom-up whole-body pose: HRNet and Associative Embedding."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagpose.inference.predictor import Predictor as Predictor

# albumentations asks the network for a newer version of itself in every process that imports it
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Turns for which threads of torch wait awake for each other. Its own 300,000 have two programs on
# the same cores wait for each other: decoding took 4300 ms in place of 47. Taken where tagpose is
# imported before torch; the Makefile says the same to all programs.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def __getattr__(name: str) -> Any:
    """The front door; opened late, as most programs of the package need only a part of it."""
    if name != "Predictor":
        raise AttributeError(f"tagpose has no {name!r}; `from tagpose import Predictor` is there")
    from tagpose.inference.predictor import Predictor

    return Predictor
