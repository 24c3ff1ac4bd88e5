"""What a run goes on with is what it stopped with."""

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


def module():
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=1e-3, fused=True)
    return BottomUpPoseModule(
        PoseNetwork("hrnet_w18_small", BODY), AssociativeEmbeddingLoss(), adam, WarmupCosine()
    )


def step(training, optimizer):
    image = torch.arange(2 * 3 * 64 * 64).view(2, 3, 64, 64).remainder(251).byte()
    keypoint_maps = training(image)
    loss = (keypoint_maps.heatmaps - 1).square().mean() + keypoint_maps.tags.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_moments_that_lay_otherwise_in_memory_go_on_as_they_were():
    training = module()
    optimizer = training.optimizer(training.parameters())
    step(training, optimizer)
    moments = copy.deepcopy(optimizer.state_dict())
    for state in moments["state"].values():
        state |= {name: value.contiguous() for name, value in state.items()}
    kept = {"state_dict": copy.deepcopy(training.state_dict()), "optimizer_states": [moments]}
    resumed = module()
    resumed.on_load_checkpoint(kept)
    resumed.load_state_dict(kept["state_dict"])
    again = resumed.optimizer(resumed.parameters())
    again.load_state_dict(kept["optimizer_states"][0])
    step(training, optimizer)
    step(resumed, again)
    for mine, theirs in zip(resumed.parameters(), training.parameters(), strict=True):
        assert torch.equal(mine, theirs)


class Norm(Callback):
    """Notes how large the gradients of a step were when it was made."""

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
        self.last = float(torch.nn.utils.get_total_norm(gradients))


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_a_fused_optimiser_takes_clipped_gradients_where_none_are_scaled(
    people, tmp_path, precision
):
    cfg = configuration(people, tmp_path, "~callbacks.ema")
    assert cfg.model.optimizer.fused
    norm = Norm()
    short = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0}
    train(cfg, norm, precision=precision, gradient_clip_val=0.01, **short)
    assert norm.last == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (["optimization.lr_scaling.base_batch_size=8"], ["an optimizer step has 4 images"]),
        (["optimization.lr_scaling.base_batch_size=4"], []),
        (["optimization.lr_scaling.base_batch_size=8", "optimization.lr_scaling.rule=sqrt"], []),
    ],
)
def test_a_training_warns_once_of_a_rate_for_another_number_of_images(
    people, tmp_path, overrides, warned
):
    cfg = configuration(people, tmp_path, "~callbacks.ema", *overrides)
    short = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0}
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        train(cfg, any_rate=False, accumulate_grad_batches=2, **short)
    said = [str(one.message) for one in recorded]
    rates = [one[: len("an optimizer step has 4 images")] for one in said if "learning rate" in one]
    assert rates == warned
