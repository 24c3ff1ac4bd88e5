"""This file says how much each labelled keypoint matters beside the others."""

from typing import Final

import torch
from torch import Tensor

from tagpose.structures import MOST_VISIBLE

_LARGE: Final = 32.0  # input pixels between the ends of a limb that is not small


def importance(
    keypoints: Tensor,
    visible: Tensor,
    limb_of: tuple[int, ...],
    *,
    by_visibility: bool,
    small_limbs: float,
) -> Tensor:
    """How much keypoints matter [B, P, K].

    Args:
        keypoints: [B, P, K, 3] x, y in input pixels, v.
        visible: [B, P, K] whether they count at all.
        limb_of: [K] the number of each keypoint's limb.
        by_visibility: whether a keypoint matters as its v says, and not as 1.
        small_limbs: how much the keypoints of small limbs matter at most; in between inversely to
            the larger side of the box around a limb.
    """
    shares = (keypoints[..., 2] / MOST_VISIBLE).clamp(0, 1) if by_visibility else visible.float()
    if small_limbs == 1:
        return shares
    limbs = torch.tensor(limb_of, device=visible.device)
    at = keypoints[..., :2]
    for limb in range(1 + max(limb_of)):
        own = (visible & (limbs == limb))[..., None]  # [B, P, K, 1]
        last = torch.where(own, at, -torch.inf).amax(2)  # [B, P, 2]
        first = torch.where(own, at, torch.inf).amin(2)
        extent = (last - first).amax(-1).clamp(min=1)  # [B, P]; of none it does not matter
        weight = (_LARGE / extent).clamp(1, small_limbs)[..., None]
        shares = torch.where(own[..., 0], shares * weight, shares)
    return shares
