"""Means of validation losses over all images of all ranks."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from tagpose.losses import LossTerms
from tagpose.structures import KeypointMaps

_TERMS: Final = ("total", *LossTerms._fields)


class ValidationLoss:
    """Sums of a validation, batch by batch; their means over all images of all processes.

    Lightning's own means are of whole numbers of images a process: with 5 images of 2 processes it
    divides by 2 and not by 2.5 (2.6.6, `_sync_ddp`).
    """

    def __init__(self) -> None:
        self.batch_sums: list[
            Tensor
        ] = []  # of each batch the sums of the terms, images lost, images

    def update(self, terms: Mapping[str, Tensor], finite: Tensor) -> None:
        """Add a batch.

        Args:
            terms: means over its images, scalars by name.
            finite: [B] whether what the network said of an image was.
        """
        images = len(finite)
        sums = torch.stack([*(images * terms[name] for name in _TERMS), (~finite).sum()])
        self.batch_sums.append(nn.functional.pad(sums.double(), (0, 1), value=images))

    def compute_sums(self, device: torch.device) -> Tensor:
        """What `mean_losses` takes, once it is added up over all processes."""
        nothing = torch.zeros(len(_TERMS) + 2, dtype=torch.float64, device=device)
        return torch.stack([nothing, *self.batch_sums]).sum(0)


def finite_images(keypoint_maps: KeypointMaps) -> Tensor:
    """Return which images [B] of a batch have finite outputs only, without waiting for a GPU."""
    # a sum is finite only if all summands are, and reads them once
    sums = [each.flatten(1).sum(1, dtype=torch.float32) for each in keypoint_maps]
    return torch.stack(sums).isfinite().all(0)


def mean_losses(sums: Tensor) -> dict[str, Tensor]:
    """The means of a validation and how many images were lost, by the names that are logged."""
    *terms, lost, images = sums
    means = {f"val/loss/{name}": one / images for name, one in zip(_TERMS, terms, strict=True)}
    return means | {"val/non_finite_images": lost}
