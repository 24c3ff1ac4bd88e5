"""Optimizer state of resumed runs, gradient clipping, and the learning-rate warning."""

import copy
import warnings
from functools import partial

import pytest
import torch
from lightning import Callback

from helpers.short_training import configuration, train
from tagpose.losses import AssociativeEmbeddingLoss
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.coco import BODY
from tagpose.training.module import BottomUpPoseModule
from tagpose.training.optimization import WarmupCosine


def make_module():
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=1e-3, fused=True)
    return BottomUpPoseModule(
        PoseNetwork("hrnet_w18_small", BODY), AssociativeEmbeddingLoss(), adam, WarmupCosine()
    )


def take_step(training, optimizer):
    image = torch.arange(2 * 3 * 64 * 64).view(2, 3, 64, 64).remainder(251).byte()
    keypoint_maps = training(image)
    loss = (keypoint_maps.heatmaps - 1).square().mean() + keypoint_maps.tags.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_moments_in_another_memory_format_resume_exactly():
    training = make_module()
    optimizer = training.optimizer(training.parameters())
    take_step(training, optimizer)
    moments = copy.deepcopy(optimizer.state_dict())
    for state in moments["state"].values():
        state |= {name: value.contiguous() for name, value in state.items()}
    checkpoint = {"state_dict": copy.deepcopy(training.state_dict()), "optimizer_states": [moments]}
    resumed = make_module()
    resumed.on_load_checkpoint(checkpoint)
    resumed.load_state_dict(checkpoint["state_dict"])
    resumed_optimizer = resumed.optimizer(resumed.parameters())
    resumed_optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    take_step(training, optimizer)
    take_step(resumed, resumed_optimizer)
    for actual, expected in zip(resumed.parameters(), training.parameters(), strict=True):
        assert torch.equal(actual, expected)


class GradientNorm(Callback):
    """Record the gradient norm of the last optimizer step."""

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
        self.last = float(torch.nn.utils.get_total_norm(gradients))


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_gradients_of_fused_optimizers_are_clipped_without_a_scaler(people, tmp_path, precision):
    cfg = configuration(people, tmp_path, "~callbacks.ema")
    assert cfg.model.optimizer.fused
    norm = GradientNorm()
    short = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0}
    train(cfg, norm, precision=precision, gradient_clip_val=0.01, **short)
    assert norm.last == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimization.lr_scaling.base_batch_size=8"], ["an optimizer step has 4 images"]),
        (["optimization.lr_scaling.base_batch_size=4"], []),
        (["optimization.lr_scaling.base_batch_size=8", "optimization.lr_scaling.rule=sqrt"], []),
    ],
)
def test_training_warns_once_if_the_learning_rate_is_for_another_batch_size(
    people, tmp_path, overrides, expected
):
    cfg = configuration(people, tmp_path, "~callbacks.ema", *overrides)
    short = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0}
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        train(cfg, any_rate=False, accumulate_grad_batches=2, **short)
    messages = [str(warning.message) for warning in recorded]
    beginning = len("an optimizer step has 4 images")
    assert [text[:beginning] for text in messages if "learning rate" in text] == expected
