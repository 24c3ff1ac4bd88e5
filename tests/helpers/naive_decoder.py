"""Naive decoder: upsampled maps and an exhaustive search for missing keypoints.

It is slow. It shares the grouping, the gathering of poses and the weights of the interpolation with
the decoder of the package: where two assignments cost the same but for rounding, another arithmetic
would group hundreds of keypoints of a crowd differently.
"""

import numpy as np
import torch
from torch.nn import functional

from tagpose.codec.grouping import gather_poses, group_peaks
from tagpose.codec.interpolation import make_grid
from tagpose.structures import STRIDE, Poses


def decode_tensors(decoder, keypoint_maps, *size, **options):
    """Decode torch tensors with the decoder of the package."""
    return decoder(*(tensor.numpy() for tensor in keypoint_maps), *size, **options)


def decode_naively(decoder, keypoint_maps):
    """Decode a batch; heatmaps may have a higher resolution than tags."""
    size = [STRIDE * length for length in keypoint_maps.tags.shape[-2:]]
    heatmaps, *tags = (
        _upsample(maps.numpy(), size)
        for maps in (keypoint_maps.heatmaps, *keypoint_maps.tags.unbind(1))
    )
    images = zip(heatmaps, torch.stack(tags, -1), strict=True)
    return [_decode_image(decoder, *image) for image in images]


def _upsample(maps, size):
    """Upsample maps [..., h, w] to a size."""
    rows, columns = make_grid(maps.shape[-2:], tuple(size))
    near, far, weight = rows.near[:, None], rows.far[:, None], rows.weight[:, None]
    left = _lerp(maps[..., near, columns.near], maps[..., far, columns.near], weight)
    right = _lerp(maps[..., near, columns.far], maps[..., far, columns.far], weight)
    return torch.from_numpy(_lerp(left, right, columns.weight))


def _lerp(near, far, weight):
    """Interpolate linearly; `weight` is that of `far`."""
    return near + weight * (far - near)


def _decode_image(decoder, heatmaps, tags):
    """Decode one image from heatmaps [K, H, W] and tags [K, H, W, L]."""
    width = heatmaps.shape[-1]
    is_maximum = functional.max_pool2d(heatmaps, 5, stride=1, padding=2) == heatmaps
    best = (heatmaps * is_maximum).flatten(1).topk(decoder.max_peaks)
    pixels = best.indices[..., None].expand(-1, -1, tags.shape[-1])
    scores, peak_tags = best.values.numpy(), tags.flatten(1, 2).gather(1, pixels).numpy()
    scores = np.where(scores > decoder.min_score, scores, 0)
    xy = np.stack([best.indices % width, best.indices // width], -1)
    person_peaks = group_peaks(xy, scores, peak_tags, decoder.grouping)
    groups = gather_poses(person_peaks, xy, scores, peak_tags, max_people=decoder.max_people)
    keypoints = groups.keypoints.copy()
    for person, person_tag in zip(keypoints, groups.tags, strict=True):
        _fill_and_refine(person, person_tag, heatmaps.numpy(), tags.numpy())
    return Poses(keypoints, groups.scores)


def _fill_and_refine(person, person_tag, heatmaps, tags):
    """Fill in the missing keypoints of a person [K, 3], and refine all by a quarter pixel."""
    for point, heatmap, tag in zip(person, heatmaps, tags, strict=True):
        if point[2] == 0:
            value = heatmap - np.sqrt(((tag - person_tag) ** 2).sum(-1)).round()
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
