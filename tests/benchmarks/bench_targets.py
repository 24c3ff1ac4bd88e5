"""Target encoding and tag loss, compared with a training step of HRNet-w32."""

from functools import partial
from statistics import median
from time import perf_counter

import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.losses import AssociativeEmbeddingLoss, tag_losses
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import WHOLEBODY

IMAGES, PEOPLE, INPUT_SIZE, MAP_SIZE = 8, 30, 512, 128
STEP = "w32 training step"
STEPS = 2  # timed training steps after a warm-up step; each takes many seconds


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PoseNetwork("hrnet_w32", WHOLEBODY)


def labels():
    """Return random keypoints [B, P, K, 3] in input pixels and a mask [B, h, w] of ones."""
    torch.manual_seed(0)
    xy = INPUT_SIZE * torch.rand(IMAGES, PEOPLE, WHOLEBODY.size, 2)
    keypoints = torch.cat([xy, torch.full_like(xy[..., :1], 2.0)], -1)
    return keypoints, torch.ones(IMAGES, MAP_SIZE, MAP_SIZE, dtype=torch.uint8)


def make_encoding():
    """Return the target encoding of a batch."""
    return partial(HeatmapEncoder(), *labels())


def make_tag_loss():
    """Return the tag loss of a batch, forward and backward."""
    targets = HeatmapEncoder()(*labels())
    tags = torch.randn(IMAGES, WHOLEBODY.size, MAP_SIZE, MAP_SIZE, requires_grad=True)

    def work():
        tags.grad = None
        pull, push = tag_losses(tags, targets)
        (pull.mean() + push.mean()).backward()

    return work


@pytest.fixture(scope="module")
def training_step(network):
    """Return the seconds of a training step in this session."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=1e-3, fused=True)
    images = torch.randint(0, 256, (IMAGES, 3, INPUT_SIZE, INPUT_SIZE), dtype=torch.uint8)
    criterion, arguments = AssociativeEmbeddingLoss(), labels()

    def step():
        start = perf_counter()
        optimizer.zero_grad()
        losses = criterion(network.forward_resolutions(images), [HeatmapEncoder()(*arguments)])
        criterion.total(losses).backward()
        optimizer.step()
        return perf_counter() - start

    step()
    return median(step() for _ in range(STEPS))


@pytest.mark.parametrize(
    ("step", "prepare", "limit"),
    [
        (f"tag loss, forward + backward, {IMAGES} images x {PEOPLE} people", make_tag_loss, 0.001),
        ("targets of that batch", make_encoding, 0.005),
    ],
)
def test_part_of_a_training_step(measure, peak_memory, training_step, step, prepare, limit):
    measure(
        step,
        prepare(),
        reference_name=STEP,
        reference=training_step,
        limit=limit,
        rounds=15,
        memory=lambda: peak_memory(prepare),
    )
