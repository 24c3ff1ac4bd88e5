"""Mean of the loss terms over a validation."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from tagpose.losses import LOSS_TERM_NAMES
from tagpose.structures import KeypointMaps

# as logged in validations
LOSS_NAMES: Final = tuple(f"val/loss/{name}" for name in LOSS_TERM_NAMES)


class ValidationLoss:
    """Sums of the loss terms over the batches of a validation.

    Lightning's own means round the number of images per process to an integer: with 5 images on 2
    processes it divides by 2 instead of 2.5 (2.6.6, `_sync_ddp`).
    """

    def __init__(self) -> None:
        # of each batch: the sums of the terms, the number of non-finite images, of all images
        self.batch_sums: list[Tensor] = []

    def update(self, terms: Mapping[str, Tensor], is_finite: Tensor) -> None:
        """Add a batch.

        Args:
            terms: means of the loss terms over the images of the batch, scalars by name.
            is_finite: [B] whether the outputs of an image were finite.
        """
        images = len(is_finite)
        sums = torch.stack(
            [*(images * terms[name] for name in LOSS_TERM_NAMES), (~is_finite).sum()]
        )
        self.batch_sums.append(nn.functional.pad(sums.double(), (0, 1), value=images))

    def compute_sums(self, device: torch.device) -> Tensor:
        """Return the sums over all batches; added up over ranks, they go to `mean_losses`."""
        zeros = torch.zeros(len(LOSS_TERM_NAMES) + 2, dtype=torch.float64, device=device)
        return torch.stack([zeros, *self.batch_sums]).sum(0)


def mean_losses(sums: Tensor) -> dict[str, Tensor]:
    """Return the mean loss terms and the number of non-finite images, by logged name."""
    *term_sums, non_finite, images = sums
    losses = zip(LOSS_NAMES, term_sums, strict=True)
    means = {name: term_sum / images for name, term_sum in losses}
    return means | {"val/non_finite_images": non_finite}


def finite_images(keypoint_maps: KeypointMaps) -> Tensor:
    """Return which images [B] of a batch have finite outputs only, without a GPU sync."""
    # a sum is finite only if all summands are, and reads them once
    sums = [maps.flatten(1).sum(1, dtype=torch.float32) for maps in keypoint_maps]
    return torch.stack(sums).isfinite().all(0)
