"""This file says how much each labelled keypoint matters beside the others."""

from typing import Final

import torch
from torch import Tensor

from tagpose.structures import MAX_VISIBILITY

_LARGE_PART: Final = 32.0  # input pixels between the ends of a part that is not small


def compute_keypoint_weights(
    keypoints: Tensor,
    visible: Tensor,
    part_index: tuple[int, ...],
    *,
    weight_by_visibility: bool,
    small_part_weight: float,
) -> Tensor:
    """How much keypoints matter [B, P, K].

    Args:
        keypoints: [B, P, K, 3] x, y in input pixels, v.
        visible: [B, P, K] whether they count at all.
        part_index: [K] the number of each keypoint's part.
        weight_by_visibility: whether a keypoint matters as its v says, and not as 1.
        small_part_weight: how much the keypoints of small parts matter at most; in between inversely to
            the larger side of the box around a part.
    """
    shares = (
        (keypoints[..., 2] / MAX_VISIBILITY).clamp(0, 1)
        if weight_by_visibility
        else visible.float()
    )
    if small_part_weight == 1:
        return shares
    parts = torch.tensor(part_index, device=visible.device)
    at = keypoints[..., :2]
    for part in range(1 + max(part_index)):
        own = (visible & (parts == part))[..., None]  # [B, P, K, 1]
        last = torch.where(own, at, -torch.inf).amax(2)  # [B, P, 2]
        first = torch.where(own, at, torch.inf).amin(2)
        extent = (last - first).amax(-1).clamp(min=1)  # [B, P]; of none it does not matter
        weight = (_LARGE_PART / extent).clamp(1, small_part_weight)[..., None]
        shares = torch.where(own[..., 0], shares * weight, shares)
    return shares
