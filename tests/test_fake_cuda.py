"""On a GPU, no operation of a training step or of a test mixes devices.

Fake tensors have a device and a shape, but no values: they run without a GPU, and refuse operations
whose tensors are on different devices. The backward pass needs a real device.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tagpose.codec import encode
from tagpose.codec.encode import Encoder
from tagpose.codec.tta import merge_flip, merge_resolutions, merge_scales
from tagpose.losses import Criterion
from tagpose.model import network as networks
from tagpose.model.network import PoseNetwork
from tagpose.official_skeletons import WHOLEBODY
from tagpose.structures import STRIDE
from tagpose.training.module import network_encoders

SIDE, IMAGES, PEOPLE = 128, 2, 3


@pytest.fixture(autouse=True)
def fake_cuda(monkeypatch):
    """A GPU whose tensors have no values."""
    # fake parameters cannot be converted, here to channels_last, but they are on the GPU already
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_, **__: module)
    constants = networks._statistics, encode._on_device
    for each in constants:
        each.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        yield
    for each in constants:  # they hold fake tensors now
        each.cache_clear()


@pytest.mark.parametrize(
    ("architecture", "tags"),
    [
        ("hrnet_w32", "keypoint"),
        ("hrnet_w32", "part"),
        ("hrnet_w48", "part"),
        ("higherhrnet_w32", "part"),
        ("higherhrnet_w48", "part"),
    ],
)
def test_training_and_test_stay_on_the_device_of_the_images(architecture, tags):
    network = PoseNetwork(architecture, WHOLEBODY, tags=tags)
    options = {"spare_unlabelled": True, "least_sigma": 1.0, "small_limbs": 2.0}
    images = torch.zeros(IMAGES, 3, SIDE, SIDE, dtype=torch.uint8)
    keypoints = torch.zeros(IMAGES, PEOPLE, WHOLEBODY.size, 3)
    mask = torch.ones(IMAGES, SIDE // STRIDE, SIDE // STRIDE, dtype=torch.uint8)
    unlabelled = torch.zeros(IMAGES, PEOPLE, len(WHOLEBODY.limbs), 4)
    encoders = network_encoders(network, lambda *known: Encoder(*known, **options))
    pyramid = network.pyramid(images)
    targets = [encoder(keypoints, mask, unlabelled) for encoder in encoders]
    criterion = Criterion(emphasis=30)
    total = criterion.total(criterion(pyramid, targets))
    assert total.device.type == "cuda"
    flipped = network(images.flip(-1))
    merged = merge_flip(merge_resolutions(pyramid), flipped, network.flip_indices)
    views = merge_scales([merged, merged], 0, (SIDE, SIDE), every_tag=True)
    assert {each.device.type for each in views} == {"cuda"}
