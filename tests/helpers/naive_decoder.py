"""The decoding as the method is written down: on maps of the size of the input, for every person.

Slow, and with nothing in common with the package's but the grouping, a person's score and tag, and
the nouns, so that it can be held against it.
"""

import numpy as np
import torch
from torch.nn import functional

from tagpose.codec.grouped_poses import gather_poses
from tagpose.codec.grouping import group_peaks
from tagpose.structures import STRIDE, Poses


def decode(decoder, keypoint_maps, *size, **options):
    """Poses [B] that the package's decoder finds in torch tensors."""
    return decoder(*(each.numpy() for each in keypoint_maps), *size, **options)


def plain_decode(decoder, keypoint_maps):
    """Poses [B] of keypoint_maps, whose heatmaps may be finer than the tags."""
    size = [STRIDE * side for side in keypoint_maps.tags.shape[-2:]]
    # in float64, so that rounding does not make one of the two equal rows at a border larger
    heatmaps, *tags = (
        functional.interpolate(maps.double(), size, mode="bilinear").float()
        for maps in (keypoint_maps.heatmaps, *keypoint_maps.tags.unbind(1))
    )
    images = zip(heatmaps, torch.stack(tags, -1), strict=True)
    return [_decode_image(decoder, *image) for image in images]


def _decode_image(decoder, heatmaps, tags):
    """Poses of one image, [K, H, W] and [K, H, W, L]."""
    width = heatmaps.shape[-1]
    maxima = functional.max_pool2d(heatmaps, 5, stride=1, padding=2) == heatmaps
    best = (heatmaps * maxima).flatten(1).topk(decoder.max_peaks)
    there = tags.flatten(1, 2).gather(1, best.indices[..., None].expand(-1, -1, tags.shape[-1]))
    scores, peak_tags = best.values.numpy(), there.numpy()
    scores = np.where(scores > decoder.min_score, scores, 0)
    xy = np.stack([best.indices % width, best.indices // width], -1)
    owned = group_peaks(xy, scores, peak_tags, decoder.grouping)
    groups = gather_poses(owned, xy, scores, peak_tags, max_people=decoder.max_people)
    keypoints = groups.keypoints.copy()
    for person, owner in zip(keypoints, groups.tags, strict=True):
        _place(person, owner, heatmaps.numpy(), tags.numpy())
    return Poses(keypoints, groups.scores)


def _place(person, owner, heatmaps, tags):
    """Fill in the missing keypoints of a person [K, 3], and move all by a quarter."""
    for point, heatmap, tag in zip(person, heatmaps, tags, strict=True):
        if point[2] == 0:
            value = heatmap - np.sqrt(((tag - owner) ** 2).sum(-1)).round()
            y, x = np.unravel_index(value.argmax(), value.shape)
            if heatmap[y, x] <= 0:
                continue
            point[:] = x, y, heatmap[y, x]
        x, y = point[:2].astype(int)
        height, width = heatmap.shape
        right, left = heatmap[y, min(x + 1, width - 1)], heatmap[y, max(x - 1, 0)]
        below, above = heatmap[min(y + 1, height - 1), x], heatmap[max(y - 1, 0), x]
        point[0] += 0.75 if right > left else 0.25
        point[1] += 0.75 if below > above else 0.25
