"""Associative Embedding loss: heatmap error, pull, push, and offsets to the centers of people."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, NamedTuple

import torch
from torch import Tensor

from tagpose.codec.spatial_tags import compute_center_offsets
from tagpose.structures import MultiResolutionMaps, Targets


class LossTerms(NamedTuple):
    """Terms of the loss, before weighting."""

    heatmap: Tensor  # [B]
    pull: Tensor  # [B]
    push: Tensor  # [B]
    spatial: Tensor  # [B]; 0 without spatial tags


LOSS_TERM_NAMES: Final = ("total", *LossTerms._fields)


@dataclass(frozen=True)
class AssociativeEmbeddingLoss:
    """Associative Embedding loss of a batch (Newell 2017); the default weights are those of MMPose.

    Attributes:
        heatmap_weight: weight of the heatmap error, the same at each resolution.
        pull_weight: weight of the variance of the tags of each person.
        push_weight: weight of the similarity of the mean tags of different people.
        ignore_empty_maps: whether heatmaps without a labeled keypoint in the image contribute 0.
        foreground_weight: additional weight of the surroundings of keypoints; see `heatmap_loss`.
        push_form: form of the push term, "exp" or "hinge"; see `tag_losses`.
        spatial_weight: weight of the error of the offsets to the centers of people, for spatial
            tags; see `offset_loss`.

    Raises:
        ValueError: if `push_form` is unknown.
    """

    heatmap_weight: float = 1.0
    pull_weight: float = 0.001
    push_weight: float = 0.001
    ignore_empty_maps: bool = True
    foreground_weight: float = 0.0
    push_form: str = "exp"
    spatial_weight: float = 0.001

    def __post_init__(self) -> None:
        if self.push_form not in ("exp", "hinge"):
            raise ValueError(f'push_form must be "exp" or "hinge", got {self.push_form!r}')

    def __call__(self, resolutions: MultiResolutionMaps, targets: Sequence[Targets]) -> LossTerms:
        """Compute the terms of the loss for each image of a batch.

        Args:
            resolutions: network outputs.
            targets: targets of the batch at each resolution; tags and offsets are read at the
                first.
        """
        pull, push = tag_losses(resolutions.tags[:, 0], targets[0], push_form=self.push_form)
        heatmap_losses = [
            heatmap_loss(
                heatmaps,
                heatmap_targets,
                ignore_empty_maps=self.ignore_empty_maps,
                foreground_weight=self.foreground_weight,
            )
            for heatmaps, heatmap_targets in zip(resolutions.heatmaps, targets, strict=True)
        ]
        offsets, spatial = resolutions.offsets, torch.zeros_like(pull)
        if offsets is not None:
            spatial = offset_loss(offsets, targets[0])
        return LossTerms(reduce(torch.add, heatmap_losses), pull, push, spatial)

    def total(self, terms: LossTerms) -> Tensor:
        """Return the weighted sum of the mean terms of a batch, a scalar."""
        means = (term.mean() for term in terms)
        weights = self.heatmap_weight, self.pull_weight, self.push_weight, self.spatial_weight
        return torch.stack(
            [weight * mean for weight, mean in zip(weights, means, strict=True)]
        ).sum()


def heatmap_loss(
    prediction: Tensor,
    targets: Targets,
    *,
    ignore_empty_maps: bool = True,
    foreground_weight: float = 0.0,
) -> Tensor:
    """Compute the masked mean squared error of heatmaps.

    Args:
        prediction: predicted heatmaps [B, K, h, w].
        targets: targets of the batch.
        ignore_empty_maps: whether heatmaps without a labeled keypoint in the image contribute 0.
        foreground_weight: the error is weighted by 1 + foreground_weight * targets.foreground. 0 as
            in MMPose; short schedules need about 30, otherwise they stay for long on the plateau
            where all predictions are 0.

    Returns:
        [B] mean over K, h, w, weighted by `targets.channel_weights`.
    """
    weight = targets.mask
    if foreground_weight:
        weight = weight * (1 + foreground_weight * targets.foreground)
    error = (weight * (prediction.float() - targets.heatmaps).square()).mean((2, 3))  # [B, K]
    if ignore_empty_maps:
        error = error * targets.visible.any(1)
    return (error * targets.channel_weights).mean(1)


def tag_losses(tags: Tensor, targets: Targets, *, push_form: str = "exp") -> tuple[Tensor, Tensor]:
    """Compute the pull and push terms of Associative Embedding (Newell 2017, eq. 1).

    People without a labeled keypoint inside the map are ignored. With m_n the mean of the tags of
    person n, out of N people: pull is the mean over people of the mean over keypoints of
    (tag - m_n)^2; push is the sum over pairs i != j of exp(-(m_i - m_j)^2), or of
    max(0, 1 - |m_i - m_j|), divided by 2 N (N - 1).

    Args:
        tags: predicted tags [B, G, h, w].
        targets: targets of the batch, with the pixels at which tags are read.
        push_form: "exp" as in MMPose, or "hinge".

    Returns:
        pull [B] and push [B]; 0 for images without people, and push 0 for a single person.
    """
    visible = targets.visible
    pixels = targets.tag_pixels  # [B, P, K]
    person_tags = tags.float().flatten(1).gather(1, pixels.flatten(1)).view(pixels.shape)
    count = visible.sum(-1)  # [B, P]
    mean = (person_tags * visible).sum(-1) / count.clamp(min=1)  # [B, P]
    squared = (person_tags - mean[..., None]).square() * visible
    variance = squared.sum(-1) / count.clamp(min=1)  # [B, P]
    people = (count > 0).sum(-1)  # [B]
    pull = variance.sum(-1) / people.clamp(min=1)
    distance = (mean[:, :, None] - mean[:, None]).abs()  # [B, P, P]
    similarity = (-distance.square()).exp() if push_form == "exp" else (1 - distance).clamp(min=0)
    is_pair = (count > 0)[:, :, None] & (count > 0)[:, None]
    is_pair = is_pair & ~torch.eye(is_pair.shape[-1], dtype=torch.bool, device=is_pair.device)
    push = (similarity * is_pair).sum((1, 2)) / (2 * people * (people - 1)).clamp(min=1)
    return pull, push


def offset_loss(offsets: Tensor, targets: Targets) -> Tensor:
    """Compute the error of the offsets to the centers of people.

    They are read at the same pixels as tags. The error of a person is the mean over keypoints of
    |dx| + |dy|, divided by the extent of the person.

    Args:
        offsets: predicted offsets [B, 2, h, w] in heatmap pixels.
        targets: targets of the batch.

    Returns:
        [B] mean over people; 0 for images without people.
    """
    visible, (height, width) = targets.visible, offsets.shape[-2:]
    pixels = targets.tag_pixels % (height * width)  # [B, P, K]
    xy = torch.stack([pixels % width, pixels // width], -1)
    true, extents = compute_center_offsets(xy, visible)
    read = offsets.float().flatten(2).gather(2, pixels.flatten(1)[:, None].expand(-1, 2, -1))
    predicted = read.transpose(1, 2).view(true.shape)
    error = (predicted - true).abs().sum(-1) * visible  # [B, P, K]
    count = visible.sum(-1)  # [B, P]
    mean = error.sum(-1) / count.clamp(min=1) / extents
    return mean.sum(-1) / (count > 0).sum(-1).clamp(min=1)
