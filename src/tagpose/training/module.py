"""This file is what Lightning trains: the network, its losses, its optimiser."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.plugins import Precision
from lightning.pytorch.utilities import GradClipAlgorithmType, rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tagpose.codec.encode import Encoder
from tagpose.codec.tta import merge_resolutions
from tagpose.data.datamodule import PoseData
from tagpose.losses import Criterion, Losses
from tagpose.model.files import FACTS
from tagpose.model.network import PoseNetwork
from tagpose.structures import Fields, Pyramid, Sample
from tagpose.training.means import ImageMeans, finite_images, logged
from tagpose.training.moments import adopt
from tagpose.training.schedule import Scaling, Schedule


class PoseTraining(LightningModule):
    """One stage of the training.

    Args:
        network: to train.
        criterion: what it learns.
        optimizer: makes one from parameters.
        schedule: of the learning rate.
        scaling: of the learning rate with the images of a step.
        encoder: see `network_encoders`.
    """

    def __init__(
        self,
        network: PoseNetwork,
        criterion: Criterion,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Schedule,
        scaling: Scaling | None = None,
        encoder: Callable[..., Encoder] = Encoder,
    ) -> None:
        super().__init__()
        self.network, self.criterion = network, criterion
        self.optimizer, self.schedule = optimizer, schedule
        self.scaling = scaling or Scaling()
        self.encoders = network_encoders(network, encoder)
        if self.encoders[0].emphasises and not criterion.emphasis:
            raise ValueError(
                "encoder.by_visibility and encoder.small_limbs say how criterion.emphasis is "
                "shared, which is 0; criterion.emphasis=30 would do"
            )
        self.means = ImageMeans()

    def forward(self, image: Tensor) -> Fields:
        return self.network(image)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        terms = self._terms(batch, self.network.pyramid(batch.image))
        shown = {f"train/loss/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(shown, batch_size=len(batch.image))
        # a sum may overflow while no gradient does; now they do, and other processes see it, too
        return terms["total"] * torch.where(terms["total"].isfinite(), 1.0, torch.nan)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        precision = self.trainer.precision_plugin
        if getattr(precision, "scaler", None) is None:
            # Lightning refuses fused optimisers wherever anything is mixed, though only float16's
            # gradients are scaled until the optimiser steps
            how = GradClipAlgorithmType(gradient_clip_algorithm or GradClipAlgorithmType.NORM)
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, how)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_validation_epoch_start(self) -> None:
        self.means = ImageMeans()

    def validation_step(  # type: ignore[override] # fields, for the callbacks
        self, batch: Sample, batch_idx: int
    ) -> Fields:
        pyramid = self.network.pyramid(batch.image)
        terms = self._terms(batch, pyramid)
        fields = merge_resolutions(pyramid)
        finite = finite_images(fields)
        for each in fields:  # the decoder finds no people in maps of 0
            each.masked_fill_(~finite.view(-1, *[1] * (each.ndim - 1)), 0)
        if not self._data().guest:
            self.means.add(terms, finite)
        return fields

    def on_validation_epoch_end(self) -> None:
        sums = self.means.sums(self.device)
        self.log_dict(logged(self.trainer.strategy.reduce(sums, reduce_op="sum")))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.optimizer(self.parameters())
        trainer = self.trainer
        steps = int(trainer.estimated_stepping_batches)
        added = trainer.accumulate_grad_batches
        images = self._data().batch_size * trainer.world_size * added
        if warning := self.scaling.mismatch(images):
            rank_zero_warn(warning)
        scale = self.scaling(images)
        scheduler = LambdaLR(optimizer, lambda step: scale * self.schedule(step, steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[FACTS] = self.network.facts.written()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        adopt(checkpoint, self.optimizer(self.parameters()).param_groups)

    def losses(self, batch: Sample, pyramid: Pyramid) -> Losses:
        """The terms of a batch, not yet weighted."""
        with torch.autocast(self.device.type, enabled=False):  # small differences, squared
            labels = batch.keypoints, batch.mask, batch.unlabelled
            return self.criterion(pyramid, [encoder(*labels) for encoder in self.encoders])

    def _data(self) -> PoseData:
        """The data that the Trainer was given."""
        data: PoseData = self.trainer.datamodule  # type: ignore[attr-defined] # set by fit
        return data

    def _terms(self, batch: Sample, pyramid: Pyramid) -> dict[str, Tensor]:
        """The total of a batch and its terms, scalars by name."""
        terms = self.losses(batch, pyramid)
        each = {name: term.mean() for name, term in terms._asdict().items()}
        return {"total": self.criterion.total(terms)} | each


def network_encoders(network: PoseNetwork, encoder: Callable[..., Encoder]) -> list[Encoder]:
    """Return the encoders that draw the targets of a network, one for each of its resolutions.

    Args:
        network: to train.
        encoder: builds one from the parts of keypoints, `sub_cell`, `tag_index`, the side of the
            input and a stride.
    """
    known = network.skeleton.limb_of, network.sub_cell, network.tag_index, network.side
    return [encoder(*known, stride) for stride in network.strides]
