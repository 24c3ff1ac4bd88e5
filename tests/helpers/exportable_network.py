"""Untrained networks that detect people, and images for them."""

import numpy as np
import torch
from PIL import Image

from tagpose.inference.predictor import Predictor
from tagpose.models.network import PoseNetwork

INPUT_SIZE = 128
# the tags of lower peaks of an untrained network are too similar for reproducible grouping
MIN_SCORE = 1.5


def make_network(skeleton, architecture="hrnet_w18_small", **options):
    """Return an untrained network that detects people, with maps in the range of trained ones."""
    torch.manual_seed(3)
    options = {"input_size": INPUT_SIZE, "tag_init_std": 0.01} | options
    network = PoseNetwork(architecture, skeleton, **options).eval()
    torch.nn.init.normal_(network.head.weight[: skeleton.size], std=0.005)
    if network.higher_head:
        torch.nn.init.normal_(network.get_parameter("higher_head.layers.0.0.weight"), std=0.02)
        torch.nn.init.normal_(network.higher_head.head.weight, std=0.17)
    return network


def make_images(*sizes):
    """Return smooth images, like photographs."""
    random = np.random.default_rng(0)
    coarse = [random.integers(0, 256, (h // 10 + 1, w // 10 + 1, 3), np.uint8) for h, w in sizes]
    pairs = zip(coarse, sizes, strict=True)
    return [np.asarray(Image.fromarray(pixels).resize((w, h))) for pixels, (h, w) in pairs]


def make_predictor(network, flip_test):
    return Predictor(network, flip_test=flip_test, device="cpu", min_score=MIN_SCORE)
