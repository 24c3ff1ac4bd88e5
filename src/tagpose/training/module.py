"""This file is what Lightning trains: the network, its losses, its optimiser."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tagpose.codec.decode import finite_images
from tagpose.codec.encode import encode
from tagpose.data.datamodule import PoseData
from tagpose.losses import Criterion, Losses
from tagpose.model.files import FACTS
from tagpose.model.network import PoseNetwork
from tagpose.structures import Fields, Sample
from tagpose.training.schedule import Scaling, Schedule


class PoseTraining(LightningModule):
    """One stage of the training.

    Args:
        network: to train.
        criterion: what it learns.
        optimizer: makes one from parameters.
        schedule: of the learning rate.
        scaling: of the learning rate with the images of a step.
    """

    def __init__(
        self,
        network: PoseNetwork,
        criterion: Criterion,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Schedule,
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__()
        self.network, self.criterion = network, criterion
        self.optimizer, self.schedule = optimizer, schedule
        self.scaling = scaling or Scaling()

    def forward(self, image: Tensor) -> Fields:
        return self.network(image)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        total = self._loss(batch, self(batch.image), "train")
        # a sum may overflow while no gradient does; now they do, and other processes see it, too
        return total * torch.where(total.isfinite(), 1.0, torch.nan)

    def validation_step(  # type: ignore[override] # fields, for the callbacks
        self, batch: Sample, batch_idx: int
    ) -> Fields:
        fields = self(batch.image)
        self._loss(batch, fields, "val")
        finite = finite_images(fields)
        lost = (~finite).sum().float()
        self.log("val/not_finite", lost, reduce_fx="sum", sync_dist=True, on_epoch=True)
        if lost:
            fields.heatmaps[~finite] = fields.tags[~finite] = 0  # where nobody is found
        return fields

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.optimizer(self.parameters())
        trainer = self.trainer
        steps = int(trainer.estimated_stepping_batches)
        data: PoseData = trainer.datamodule  # type: ignore[attr-defined] # set by fit
        images = data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        scale = self.scaling(images)
        scheduler = LambdaLR(optimizer, lambda step: scale * self.schedule(step, steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[FACTS] = self.network.facts.written()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the moments of a checkpoint, and with the rates of the configuration."""
        groups = self.optimizer(self.parameters()).param_groups
        for optimizer in checkpoint.get("optimizer_states", ()):
            for moments in optimizer["state"].values():
                _lay_as_weights(moments)
            for before, now in zip(optimizer["param_groups"], groups, strict=True):
                _take_rates(before, now)
        for scheduler in checkpoint.get("lr_schedulers", ()):
            scheduler["base_lrs"] = [group["lr"] for group in groups]

    def losses(self, batch: Sample, fields: Fields) -> Losses:
        """The terms of a batch, not yet weighted."""
        with torch.autocast(self.device.type, enabled=False):  # small differences, squared
            return self.criterion(fields, encode(batch.keypoints, batch.mask))

    def _loss(self, batch: Sample, fields: Fields, stage: str) -> Tensor:
        """The total of a batch, a scalar; logs it and its terms."""
        terms = self.losses(batch, fields)
        total = self.criterion.total(terms)
        shown = {"total": total, **terms._asdict()}
        self.log_dict(
            {f"{stage}/loss/{name}": term.detach().mean() for name, term in shown.items()},
            batch_size=len(batch.image),
            on_step=stage == "train",
            on_epoch=stage == "val",
            sync_dist=stage == "val",
        )
        return total


def _lay_as_weights(moments: dict[str, Any]) -> None:
    """Lay moments in memory as weights lie, side by side with which a fused optimiser reads."""
    for name, value in moments.items():
        if isinstance(value, Tensor) and value.ndim == 4:
            moments[name] = value.contiguous(memory_format=torch.channels_last)


def _take_rates(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Give a group of parameters the options of another; a rate stays where its schedule is."""
    scale = now["lr"] / (before.get("initial_lr") or now["lr"])  # exactly 1 where it is the same
    rates = {"lr": scale * before["lr"], "initial_lr": now["lr"]}
    before.update(now | {"params": before["params"]} | rates)
