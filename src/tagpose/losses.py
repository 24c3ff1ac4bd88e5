"""This file says how far what the network predicts is from the targets: one value per image."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from tagpose.structures import MultiResolutionMaps, Targets


class LossTerms(NamedTuple):
    """The three terms, not yet weighted."""

    heatmap: Tensor  # [B]
    pull: Tensor  # [B]
    push: Tensor  # [B]


@dataclass(frozen=True)
class AssociativeEmbeddingLoss:
    """What is learned, and how much each term weighs; calling it compares a batch.

    Attributes:
        heatmap_weight: weight of the heatmaps' error, the same at each resolution, as published.
        pull_weight: weight of the spread of a person's tags.
        push_weight: weight of the nearness of people's tags.
        ignore_empty_maps: whether a keypoint that nobody in the image has contributes 0.
        foreground_weight: of places where a keypoint is; see `heatmap_loss`.
        push_form: "exp" or "hinge"; see `tag_losses`.
    """

    heatmap_weight: float = 1.0
    pull_weight: float = 0.001
    push_weight: float = 0.001
    ignore_empty_maps: bool = True
    foreground_weight: float = 0.0
    push_form: str = "exp"

    def __post_init__(self) -> None:
        if self.push_form not in ("exp", "hinge"):
            raise ValueError(f"push_form {self.push_form!r} is neither exp nor hinge")

    def __call__(self, resolutions: MultiResolutionMaps, targets: Sequence[Targets]) -> LossTerms:
        """The terms of a batch, one value per image each.

        Args:
            resolutions: of the network.
            targets: of the same batch, one for each resolution; tags are read at the first.
        """
        pull, push = tag_losses(resolutions.tags[:, 0], targets[0], push_form=self.push_form)
        heatmaps = [
            heatmap_loss(
                heatmaps,
                one,
                ignore_empty_maps=self.ignore_empty_maps,
                foreground_weight=self.foreground_weight,
            )
            for heatmaps, one in zip(resolutions.heatmaps, targets, strict=True)
        ]
        return LossTerms(reduce(torch.add, heatmaps), pull, push)

    def total(self, losses: LossTerms) -> Tensor:
        """The weighted sum of the terms' means over the batch, a scalar."""
        means = (term.mean() for term in losses)
        weights = (self.heatmap_weight, self.pull_weight, self.push_weight)
        return torch.stack([w * m for w, m in zip(weights, means, strict=True)]).sum()


def heatmap_loss(
    prediction: Tensor,
    targets: Targets,
    *,
    ignore_empty_maps: bool = True,
    foreground_weight: float = 0.0,
) -> Tensor:
    """Squared error of the heatmaps, where the mask lets it count.

    Args:
        prediction: [B, K, h, w].
        targets: of the same batch.
        ignore_empty_maps: whether a keypoint that nobody in the image has labelled contributes 0.
        foreground_weight: the error is weighted by 1 + foreground_weight * that of the targets. 0 is the published
            loss; short schedules want about 30, or they rest for long on the plateau of maps that
            are all 0.

    Returns:
        [B] mean over K, h, w.
    """
    weight = targets.mask
    if foreground_weight:
        weight = weight * (1 + foreground_weight * targets.foreground)
    error = (weight * (prediction.float() - targets.heatmaps).square()).mean((2, 3))  # [B, K]
    if ignore_empty_maps:
        error = error * targets.visible.any(1)
    return error.mean(1)


def tag_losses(tags: Tensor, targets: Targets, *, push_form: str = "exp") -> tuple[Tensor, Tensor]:
    """Associative embedding (Newell 2017, eq. 1): a person's tags together, people's apart.

    Over people with at least one labelled keypoint inside the map: m_n is the mean of person n's
    tags; pull is the mean over people of the mean over keypoints of (tag - m_n)^2; push is the sum
    over pairs i != j of exp(-(m_i - m_j)^2), or of max(0, 1 - |m_i - m_j|), over 2 N (N - 1).

    Args:
        tags: [B, G, h, w].
        targets: of the same batch; tags are read at their heatmap pixels.
        push_form: "exp" as published, or "hinge".

    Returns:
        pull, push: [B] each; 0 where nothing is to compare.
    """
    visible = targets.visible
    pixels = targets.tag_pixels  # [B, P, K]
    at = tags.float().flatten(1).gather(1, pixels.flatten(1)).view(pixels.shape)
    count = visible.sum(-1)  # [B, P]
    mean = (at * visible).sum(-1) / count.clamp(min=1)  # [B, P]
    spread = ((at - mean[..., None]).square() * visible).sum(-1) / count.clamp(min=1)
    people = (count > 0).sum(-1)  # [B]
    pull = spread.sum(-1) / people.clamp(min=1)
    apart = (mean[:, :, None] - mean[:, None]).abs()  # [B, P, P]
    near = (-apart.square()).exp() if push_form == "exp" else (1 - apart).clamp(min=0)
    both = (count > 0)[:, :, None] & (count > 0)[:, None]
    both = both & ~torch.eye(both.shape[-1], dtype=torch.bool, device=both.device)
    push = (near * both).sum((1, 2)) / (2 * people * (people - 1)).clamp(min=1)
    return pull, push
