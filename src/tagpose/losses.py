"""This file says how far what the network predicts is from the targets: one value per image."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from tagpose.structures import Pyramid, Targets


class Losses(NamedTuple):
    """The three terms, not yet weighted."""

    heatmap: Tensor  # [B]
    pull: Tensor  # [B]
    push: Tensor  # [B]


@dataclass(frozen=True)
class Criterion:
    """What is learned, and how much each term weighs; calling it compares a batch.

    Attributes:
        heatmap: weight of the heatmaps' error, the same at each resolution, as published.
        pull: weight of the spread of a person's tags.
        push: weight of the nearness of people's tags.
        skip_empty: whether a keypoint that nobody in the image has contributes 0.
        emphasis: of places where a keypoint is; see `heatmap_loss`.
        push_form: "exp" or "hinge"; see `tag_losses`.
    """

    heatmap: float = 1.0
    pull: float = 0.001
    push: float = 0.001
    skip_empty: bool = True
    emphasis: float = 0.0
    push_form: str = "exp"

    def __post_init__(self) -> None:
        if self.push_form not in ("exp", "hinge"):
            raise ValueError(f"push_form {self.push_form!r} is neither exp nor hinge")

    def __call__(self, pyramid: Pyramid, targets: Sequence[Targets]) -> Losses:
        """The terms of a batch, one value per image each.

        Args:
            pyramid: of the network.
            targets: of the same batch, one for each resolution; tags are read at the first.
        """
        pull, push = tag_losses(pyramid.tags[:, 0], targets[0], push_form=self.push_form)
        heatmaps = [
            heatmap_loss(heatmaps, one, skip_empty=self.skip_empty, emphasis=self.emphasis)
            for heatmaps, one in zip(pyramid.heatmaps, targets, strict=True)
        ]
        return Losses(reduce(torch.add, heatmaps), pull, push)

    def total(self, losses: Losses) -> Tensor:
        """The weighted sum of the terms' means over the batch, a scalar."""
        means = (term.mean() for term in losses)
        weights = (self.heatmap, self.pull, self.push)
        return torch.stack([w * m for w, m in zip(weights, means, strict=True)]).sum()


def heatmap_loss(
    prediction: Tensor, targets: Targets, *, skip_empty: bool = True, emphasis: float = 0.0
) -> Tensor:
    """Squared error of the heatmaps, where the mask lets it count.

    Args:
        prediction: [B, K, h, w].
        targets: of the same batch.
        skip_empty: whether a keypoint that nobody in the image has labelled contributes 0.
        emphasis: the error is weighted by 1 + emphasis * that of the targets. 0 is the published
            loss; short schedules want about 30, or they rest for long on the plateau of maps that
            are all 0.

    Returns:
        [B] mean over K, h, w.
    """
    weight = targets.mask
    if emphasis:
        weight = weight * (1 + emphasis * targets.emphasis)
    error = (weight * (prediction.float() - targets.heatmaps).square()).mean((2, 3))  # [B, K]
    if skip_empty:
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
