"""What a batch costs beside the network: targets, tag loss, decoding; held against HRNet-w32."""

from functools import partial
from statistics import median
from time import perf_counter

import pytest
import torch
from tagpose.codec.decode import Decoder

from crowds import crowd
from tagpose.codec.encode import Encoder
from tagpose.codec.tta import merge_mirror
from tagpose.losses import Criterion, tag_losses
from tagpose.model.network import PoseNetwork
from tagpose.official_skeletons import WHOLEBODY

IMAGES, PEOPLE, SIDE, CELLS = 8, 30, 512, 128
TEST_INPUT, TEST_CELLS = (512, 704), (128, 176)
STEP, PASSES = "w32 training step", "two w32 forward passes"
STEPS = 2  # of training that are timed, after one that is not: each takes many seconds


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PoseNetwork("hrnet_w32", WHOLEBODY)


def labels():
    """Keypoints [B, P, K, 3] anywhere in the input, and the mask of cells that count."""
    torch.manual_seed(0)
    places = SIDE * torch.rand(IMAGES, PEOPLE, WHOLEBODY.size, 2)
    keypoints = torch.cat([places, torch.full_like(places[..., :1], 2.0)], -1)
    return keypoints, torch.ones(IMAGES, CELLS, CELLS, dtype=torch.uint8)


def drawing():
    """Targets of a batch."""
    return partial(Encoder(), *labels())


def losing():
    """The tag loss of a batch, forward and backward."""
    targets = Encoder()(*labels())
    tags = torch.randn(IMAGES, WHOLEBODY.size, CELLS, CELLS, requires_grad=True)

    def work():
        tags.grad = None
        pull, push = tag_losses(tags, targets)
        (pull.mean() + push.mean()).backward()

    return work


def decoding(people):
    """What is done with the two outputs of the network."""
    views, decoder = crowd(people, TEST_CELLS, seed=people), Decoder(WHOLEBODY.grouping_order)
    return lambda: decoder(merge_mirror(*views, WHOLEBODY.mirror))


@pytest.fixture(scope="module")
def training_step(network):
    """Seconds of a step on the batch, in this run."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=1e-3, fused=True)
    images = torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8)
    criterion, known = Criterion(), labels()

    def step():
        start = perf_counter()
        optimizer.zero_grad()
        losses = criterion(network.pyramid(images), [Encoder()(*known)])
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


@pytest.mark.parametrize(("people", "limit"), [(30, 0.05), (5, 0.03)])
def test_decode(measure, peak_memory, network, people, limit):
    images = torch.randint(0, 256, (1, 3, *TEST_INPUT), dtype=torch.uint8)
    network.eval()

    @torch.inference_mode()
    def two_passes():
        network(images)
        network(images.flip(-1))

    two_passes()
    measure(
        f"decode with mirror test, {people} people, 512 x 704",
        decoding(people),
        against=PASSES,
        yardstick=two_passes,
        limit=limit,
        rounds=15,
        memory=lambda: peak_memory(partial(decoding, people)),
        memory_limit=100,
    )
