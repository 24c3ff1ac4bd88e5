"""Cost of targets and tag loss compared with a training step of HRNet-w32."""

from functools import partial
from statistics import median
from time import perf_counter

import pytest
import torch

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.losses import AssociativeEmbeddingLoss, tag_losses
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import WHOLEBODY

IMAGES, PEOPLE, SIDE, MAP_SIZE = 8, 30, 512, 128
STEP = "w32 training step"
STEPS = 2  # of training that are timed, after one that is not: each takes many seconds


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PoseNetwork("hrnet_w32", WHOLEBODY)


def labels():
    """Keypoints [B, P, K, 3] anywhere in the input, and the mask of heatmap pixels that count."""
    torch.manual_seed(0)
    places = SIDE * torch.rand(IMAGES, PEOPLE, WHOLEBODY.size, 2)
    keypoints = torch.cat([places, torch.full_like(places[..., :1], 2.0)], -1)
    return keypoints, torch.ones(IMAGES, MAP_SIZE, MAP_SIZE, dtype=torch.uint8)


def drawing():
    """Targets of a batch."""
    return partial(HeatmapEncoder(), *labels())


def losing():
    """The tag loss of a batch, forward and backward."""
    targets = HeatmapEncoder()(*labels())
    tags = torch.randn(IMAGES, WHOLEBODY.size, MAP_SIZE, MAP_SIZE, requires_grad=True)

    def work():
        tags.grad = None
        pull, push = tag_losses(tags, targets)
        (pull.mean() + push.mean()).backward()

    return work


@pytest.fixture(scope="module")
def training_step(network):
    """Seconds of a step on the batch, in this run."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=1e-3, fused=True)
    images = torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8)
    criterion, known = AssociativeEmbeddingLoss(), labels()

    def step():
        start = perf_counter()
        optimizer.zero_grad()
        losses = criterion(network.forward_resolutions(images), [HeatmapEncoder()(*known)])
        criterion.total(losses).backward()
        optimizer.step()
        return perf_counter() - start

    step()
    return median(step() for _ in range(STEPS))


@pytest.mark.parametrize(
    ("step", "prepare", "limit"),
    [
        (f"tag loss, forward + backward, {IMAGES} images x {PEOPLE} people", losing, 0.001),
        ("targets of that batch", drawing, 0.005),
    ],
)
def test_part_of_a_training_step(measure, peak_memory, training_step, step, prepare, limit):
    measure(
        step,
        prepare(),
        against=STEP,
        yardstick=training_step,
        limit=limit,
        rounds=15,
        memory=lambda: peak_memory(prepare),
    )
