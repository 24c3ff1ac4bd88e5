"""Heatmaps and tags like those of a trained network, for any number of people."""

import numpy as np
import torch
from torch.nn import functional

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import flip_maps
from tagpose.data.synthetic.pose import random_pose
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import STRIDE, KeypointMaps

_MISSING_PART, _MISSING_KEYPOINT = 0.25, 0.1  # probabilities
_RADIUS = 12  # heatmap pixels around a keypoint that have its tag
_SIGMA = 3.0  # heatmap pixels, of the decay of tags with the distance


def _random_people(count, map_size, random):
    """Return people [count, K, 3] in input pixels, side by side, with some parts missing."""
    height, width = (STRIDE * length for length in map_size)
    columns = round(np.sqrt(count * width / height) + 0.5)
    room = np.array([width / columns, height / -(-count // columns)])  # for each person
    grid = np.array([(n % columns, n // columns) for n in range(count)])
    centers = (grid + random.uniform(0.3, 0.7, (count, 2))) * room
    points = np.stack([random_pose(random).points for _ in range(count)])
    heights = random.uniform(0.9, 1.3, (count, 1, 1)) * room.min()
    points = (points - points.mean(1, keepdims=True)) * heights + centers[:, None]
    visible = random.random((count, WHOLEBODY.size)) > _MISSING_KEYPOINT
    for part in ("foot", "face", "lefthand", "righthand"):
        visible[:, WHOLEBODY.parts[part]] &= random.random((count, 1)) > _MISSING_PART
    return torch.from_numpy(np.concatenate([points, 2.0 * visible[..., None]], -1)).float()


def make_crowd_maps(count, map_size=(128, 176), seed=0):
    """Return outputs for an image of `count` people, and for the flipped image.

    Heatmaps have peaks of different heights over low, smooth noise. Tags are those of a person
    around its keypoints and fade into a flat background, as in the outputs of trained networks.
    """
    random = np.random.default_rng(seed)
    keypoints = _random_people(count, map_size, random)
    targets = HeatmapEncoder()(keypoints[None], torch.ones(1, *map_size)).heatmaps
    heights = 0.4 + 0.6 * torch.from_numpy(random.random((1, WHOLEBODY.size, 1, 1))).float()
    levels = random.permutation(count) * 1.2 - 0.6 * count
    views = []
    for _ in range(2):
        tags = _tags(keypoints.numpy(), levels + random.normal(0, 0.1, count), map_size)
        noise = _smooth_noise(map_size, random)
        heatmaps = targets * heights * (1 + 0.3 * noise) + 0.01 * noise
        tags = tags + 0.1 * _smooth_noise(map_size, random)
        views.append(KeypointMaps(heatmaps, tags[:, None]))
    original, flipped = views
    return original, flip_maps(flipped, WHOLEBODY.channel_flip_indices())


def halve_tag_resolution(keypoint_maps):
    """Return maps like those of a HigherHRNet, whose tags have half the heatmaps' resolution."""
    tags = functional.avg_pool2d(keypoint_maps.tags.flatten(0, 1), 2)
    return KeypointMaps(
        keypoint_maps.heatmaps, tags.view(*keypoint_maps.tags.shape[:3], *tags.shape[-2:])
    )


def _tags(keypoints, levels, map_size):
    """Return tag maps [1, K, h, w]: means of people's tags weighted by distance, and 0 far away."""
    sums = np.zeros(
        (WHOLEBODY.size, map_size[0] + 2 * _RADIUS, map_size[1] + 2 * _RADIUS), np.float32
    )
    weights = np.full_like(sums, 0.05)
    offset = np.arange(-_RADIUS, _RADIUS + 1)
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * _SIGMA**2))
    for person, level in zip(keypoints, levels, strict=True):
        for keypoint, (x, y, v) in enumerate(person):
            column, row = int(x // STRIDE), int(y // STRIDE)
            if v and 0 <= row < map_size[0] and 0 <= column < map_size[1]:
                around = np.s_[keypoint, row : row + len(window), column : column + len(window)]
                sums[around] += level * window
                weights[around] += window
    inside = np.s_[None, :, _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return torch.from_numpy((sums / weights)[inside])


def _smooth_noise(map_size, random):
    """Return smooth noise [1, K, h, w] with a standard deviation of about 1."""
    coarse = random.normal(0, 1.5, (1, WHOLEBODY.size, map_size[0] // 8 + 1, map_size[1] // 8 + 1))
    return functional.interpolate(torch.from_numpy(coarse).float(), map_size, mode="bicubic")
