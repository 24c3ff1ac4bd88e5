"""KeypointMaps as a trained network draws them, of as many people as one likes."""

import numpy as np
import torch
from torch.nn import functional

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import flip_maps
from tagpose.data.synthetic.pose import random_pose
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import STRIDE, KeypointMaps

_ABSENT_PART, _ABSENT_KEYPOINT = 0.25, 0.1  # chances: too small, hidden
_REACH = 12  # heatmap pixels around a keypoint that take its person's tag, fading
_FADING = 3.0  # heatmap pixels, sigma


def people_keypoints(count, map_size, random):
    """People [count, K, 3] in input pixels, standing anywhere, each lacking some parts."""
    height, width = (STRIDE * side for side in map_size)
    columns = round(np.sqrt(count * width / height) + 0.5)
    room = np.array([width / columns, height / -(-count // columns)])  # for each, side by side
    places = np.array([(n % columns, n // columns) for n in range(count)])
    middle = (places + random.uniform(0.3, 0.7, (count, 2))) * room
    points = np.stack([random_pose(random).points for _ in range(count)])
    tall = random.uniform(0.9, 1.3, (count, 1, 1)) * room.min()
    points = (points - points.mean(1, keepdims=True)) * tall + middle[:, None]
    seen = random.random((count, WHOLEBODY.size)) > _ABSENT_KEYPOINT
    for part in ("foot", "face", "lefthand", "righthand"):
        seen[:, WHOLEBODY.parts[part]] &= random.random((count, 1)) > _ABSENT_PART
    return torch.from_numpy(np.concatenate([points, 2.0 * seen[..., None]], -1)).float()


def crowd(count, map_size=(128, 176), seed=0):
    """What the network says of a picture of so many people, and of its flipped twin.

    Heatmaps have peaks of different height over a low, smooth noise; tags are those of a person
    around its keypoints and fade into a flat background, as those of trained networks do.
    """
    random = np.random.default_rng(seed)
    keypoints = people_keypoints(count, map_size, random)
    drawn = HeatmapEncoder()(keypoints[None], torch.ones(1, *map_size)).heatmaps
    height = 0.4 + 0.6 * torch.from_numpy(random.random((1, WHOLEBODY.size, 1, 1))).float()
    levels = random.permutation(count) * 1.2 - 0.6 * count
    views = []
    for _ in range(2):
        tags = _tags(keypoints.numpy(), levels + random.normal(0, 0.1, count), map_size)
        noise = _smooth_noise(map_size, random)
        heatmaps = drawn * height * (1 + 0.3 * noise) + 0.01 * noise
        views.append(
            KeypointMaps(heatmaps, (tags + 0.1 * _smooth_noise(map_size, random))[:, None])
        )
    view, other = views
    return view, flip_maps(other, WHOLEBODY.channel_flip_indices())


def finer(keypoint_maps):
    """What a HigherHRNet says of the same picture at half the size: tags of twice the heatmap pixels."""
    tags = functional.avg_pool2d(keypoint_maps.tags.flatten(0, 1), 2)
    return KeypointMaps(
        keypoint_maps.heatmaps, tags.view(*keypoint_maps.tags.shape[:3], *tags.shape[-2:])
    )


def _tags(keypoints, levels, map_size):
    """Tag maps [1, K, h, w]: the mean of people's tags, weighted by nearness, and 0 far away."""
    sums = np.zeros(
        (WHOLEBODY.size, map_size[0] + 2 * _REACH, map_size[1] + 2 * _REACH), np.float32
    )
    weights = np.full_like(sums, 0.05)
    offset = np.arange(-_REACH, _REACH + 1)
    near = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * _FADING**2))
    for person, level in zip(keypoints, levels, strict=True):
        for kind, (x, y, v) in enumerate(person):
            column, row = int(x // STRIDE), int(y // STRIDE)
            if v and 0 <= row < map_size[0] and 0 <= column < map_size[1]:
                around = np.s_[kind, row : row + len(near), column : column + len(near)]
                sums[around] += level * near
                weights[around] += near
    inside = np.s_[None, :, _REACH:-_REACH, _REACH:-_REACH]
    return torch.from_numpy((sums / weights)[inside])


def _smooth_noise(map_size, random):
    """Noise [1, K, h, w] of deviation about 1, smooth over some heatmap pixels."""
    coarse = random.normal(0, 1.5, (1, WHOLEBODY.size, map_size[0] // 8 + 1, map_size[1] // 8 + 1))
    return functional.interpolate(torch.from_numpy(coarse).float(), map_size, mode="bicubic")
