"""This file looks for the keypoints that a person lacks, where its tag leads."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from tagpose.codec.enlargement import enlarge, read_enlarged
from tagpose.codec.peaks import read_places

_SHORTLIST: Final = 1024  # pixels with the highest scores, among which most people find theirs


def fill_in(
    people: np.ndarray,
    person_tags: np.ndarray,
    heatmaps: Tensor,
    tags: Tensor,
    size: tuple[int, int],
) -> np.ndarray:
    """People whose missing keypoints are where the heatmap is high and the tag is theirs.

    Args:
        people: [P, K, 3] x, y (input pixels), score; a score of 0 is a missing keypoint.
        person_tags: [P, L] mean of the tags at the keypoints that a person has.
        heatmaps: [K, h, w] of their image.
        tags: [L, K, h, w] of the image.
        size: height, width of the network's input.

    Returns:
        [P, K, 3] float32; a keypoint stays missing where the score found is not positive.
    """
    filled = people.copy()
    owners = torch.from_numpy(person_tags).to(tags)
    for keypoint in np.flatnonzero((people[..., 2] == 0).any(0)):
        lacking = np.flatnonzero(people[:, keypoint, 2] == 0)
        found = _find(heatmaps[keypoint], tags[:, keypoint], owners[lacking], size)
        filled[lacking, keypoint] = np.where(found[:, 2:] > 0, found, 0)
    return filled


def _find(heatmap: Tensor, tags: Tensor, owners: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Rows [P, 3] x, y, score of one keypoint for people with tags [P, L]."""
    scores = enlarge(heatmap[None], size).flatten()
    places = best_places(scores, tags, owners, size)
    x, y = places % size[1], places // size[1]
    xy = read_places(heatmap[None], torch.zeros_like(x), x, y, size)
    return torch.cat([xy, scores[places, None]], dim=-1).cpu().numpy()


def best_places(scores: Tensor, tags: Tensor, owners: Tensor, size: tuple[int, int]) -> Tensor:
    """The first arg max of score - round(|tag - owner|) over all pixels, for each owner.

    Nothing beyond a shortlist of the highest scores can win against a value that is above all of
    them, as distances only subtract; so the whole map is searched only for owners without such a
    value.

    Args:
        scores: [H * W] enlarged heatmap of one keypoint.
        tags: [L, h, w] of the keypoint.
        owners: [P, L].
        size: height, width of the network's input.

    Returns:
        [P] int64, y * W + x.
    """
    shortlist = scores.topk(min(_SHORTLIST, len(scores)))
    # By place, so that the first of equals is the one that a search of the whole map meets first.
    candidates = shortlist.indices.sort().values
    values, at = _agreement(scores, tags, owners, candidates, size).max(-1)
    places = candidates[at]
    open_ended = (values <= shortlist.values[-1]).nonzero().flatten()
    everywhere = torch.arange(len(scores), device=scores.device)
    for owner in open_ended.tolist():  # one at a time: P x H x W does not fit
        places[owner] = _agreement(scores, tags, owners[[owner]], everywhere, size).argmax()
    return places


def _agreement(
    scores: Tensor, tags: Tensor, owners: Tensor, places: Tensor, size: tuple[int, int]
) -> Tensor:
    """Values [P, N] of score - round(|tag - owner|) at flat places [N]."""
    x, y = places % size[1], places // size[1]
    there = read_enlarged(tags[:, None], torch.zeros_like(x), x, y, size)  # [L, N]
    distance = (there[None] - owners[..., None]).square().sum(1).sqrt()
    return scores[places] - distance.round()
