"""Training and inference on a GPU do not mix devices.

Fake tensors have a device and a shape, but no values. They work without a GPU and reject operations
on tensors of different devices. The backward pass needs a real device.
"""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tagpose.codec import encoder as encoder_module
from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import merge_flip, merge_scales
from tagpose.data import preprocessing
from tagpose.losses import AssociativeEmbeddingLoss
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import WHOLEBODY
from tagpose.structures import STRIDE
from tagpose.training.module import build_encoders

SIDE, IMAGES, PEOPLE = 128, 2, 3


@pytest.fixture(autouse=True)
def fake_cuda(monkeypatch):
    """Make all tensors fake CUDA tensors."""
    # fake parameters cannot be converted to channels_last, and they are on the GPU already
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_, **__: module)
    cached_functions = preprocessing._mean_and_std, encoder_module._on_device
    for function in cached_functions:
        function.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        yield
    for function in cached_functions:  # they hold fake tensors now
        function.cache_clear()


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("architecture", "tags", "spatial_tags"),
    [
        ("hrnet_w18_small", "keypoint", 0.0),
        ("hrnet_w18_small", "part", 4.0),
        ("higherhrnet_w18_small", "part", 0.0),
        slow("hrnet_w32", "keypoint", 0.0),
        slow("hrnet_w32", "part", 0.0),
        slow("hrnet_w48", "part", 0.0),
        slow("higherhrnet_w32", "part", 4.0),
        slow("higherhrnet_w48", "part", 0.0),
    ],
)
def test_training_and_flip_test_stay_on_the_device_of_the_images(architecture, tags, spatial_tags):
    network = PoseNetwork(architecture, WHOLEBODY, tag_sharing=tags, spatial_tags=spatial_tags)
    options = {"ignore_unlabeled": True, "min_sigma": 1.0, "small_part_weight": 2.0}
    images = torch.zeros(IMAGES, 3, SIDE, SIDE, dtype=torch.uint8)
    keypoints = torch.zeros(IMAGES, PEOPLE, WHOLEBODY.size, 3)
    mask = torch.ones(IMAGES, SIDE // STRIDE, SIDE // STRIDE, dtype=torch.uint8)
    unlabeled = torch.zeros(IMAGES, PEOPLE, len(WHOLEBODY.disjoint_parts), 4)
    encoders = build_encoders(network, lambda *arguments: HeatmapEncoder(*arguments, **options))
    resolutions = network.forward_resolutions(images)
    targets = [encoder(keypoints, mask, unlabeled) for encoder in encoders]
    criterion = AssociativeEmbeddingLoss(foreground_weight=30)
    total = criterion.total(criterion(resolutions, targets))
    assert total.device.type == "cuda"
    flipped = network(images.flip(-1))
    merged_flip = merge_flip(network.merge(resolutions), flipped, network.channel_flip_indices)
    merged_scales = merge_scales([merged_flip, merged_flip], 0, (SIDE, SIDE), multi_scale_tags=True)
    assert {maps.device.type for maps in merged_scales} == {"cuda"}
