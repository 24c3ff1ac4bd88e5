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

from tagpose.codec.encoder import HeatmapEncoder
from tagpose.codec.tta import merge_resolutions
from tagpose.data.datamodule import PoseDataModule
from tagpose.losses import AssociativeEmbeddingLoss, LossTerms
from tagpose.models.checkpoint import SPEC_KEY
from tagpose.models.network import PoseNetwork
from tagpose.structures import KeypointMaps, MultiResolutionMaps, Sample
from tagpose.training.optimization import LRScaling, LRSchedule, update_optimizer_state
from tagpose.training.validation_loss import ValidationLoss, finite_images, mean_losses


class BottomUpPoseModule(LightningModule):
    """One stage of the training.

    Args:
        network: to train.
        criterion: what it learns.
        optimizer: makes one from parameters.
        lr_schedule: of the learning rate.
        lr_scaling: of the learning rate with the images of a step.
        encoder: see `build_encoders`.
    """

    def __init__(
        self,
        network: PoseNetwork,
        criterion: AssociativeEmbeddingLoss,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        lr_schedule: LRSchedule,
        lr_scaling: LRScaling | None = None,
        encoder: Callable[..., HeatmapEncoder] = HeatmapEncoder,
    ) -> None:
        super().__init__()
        self.network, self.criterion = network, criterion
        self.optimizer, self.lr_schedule = optimizer, lr_schedule
        self.lr_scaling = lr_scaling or LRScaling()
        self.encoders = build_encoders(network, encoder)
        if self.encoders[0].has_keypoint_weights and not criterion.foreground_weight:
            raise ValueError(
                "encoder.weight_by_visibility and encoder.small_part_weight say how criterion.foreground_weight is "
                "shared, which is 0; criterion.foreground_weight=30 would do"
            )
        self.validation_loss = ValidationLoss()

    def forward(self, image: Tensor) -> KeypointMaps:
        return self.network(image)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        terms = self._loss_terms(batch, self.network.forward_resolutions(batch.image))
        losses = {f"train/loss/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(losses, batch_size=len(batch.image))
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
        self.validation_loss = ValidationLoss()

    def validation_step(  # type: ignore[override] # keypoint_maps, for the callbacks
        self, batch: Sample, batch_idx: int
    ) -> KeypointMaps:
        resolutions = self.network.forward_resolutions(batch.image)
        terms = self._loss_terms(batch, resolutions)
        keypoint_maps = merge_resolutions(resolutions)
        finite = finite_images(keypoint_maps)
        for each in keypoint_maps:  # the decoder finds no people in maps of 0
            each.masked_fill_(~finite.view(-1, *[1] * (each.ndim - 1)), 0)
        if not self._datamodule().is_padding_rank:
            self.validation_loss.update(terms, finite)
        return keypoint_maps

    def on_validation_epoch_end(self) -> None:
        sums = self.validation_loss.compute_sums(self.device)
        self.log_dict(mean_losses(self.trainer.strategy.reduce(sums, reduce_op="sum")))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.optimizer(self.parameters())
        trainer = self.trainer
        steps = int(trainer.estimated_stepping_batches)
        added = trainer.accumulate_grad_batches
        images = self._datamodule().batch_size * trainer.world_size * added
        if warning := self.lr_scaling.mismatch(images):
            rank_zero_warn(warning)
        scale = self.lr_scaling(images)
        scheduler = LambdaLR(optimizer, lambda step: scale * self.lr_schedule(step, steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[SPEC_KEY] = self.network.spec.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        update_optimizer_state(checkpoint, self.optimizer(self.parameters()).param_groups)

    def losses(self, batch: Sample, resolutions: MultiResolutionMaps) -> LossTerms:
        """The terms of a batch, not yet weighted."""
        with torch.autocast(self.device.type, enabled=False):  # small differences, squared
            labels = batch.keypoints, batch.mask, batch.unlabelled
            return self.criterion(resolutions, [encoder(*labels) for encoder in self.encoders])

    def _datamodule(self) -> PoseDataModule:
        """The data that the Trainer was given."""
        data: PoseDataModule = self.trainer.datamodule  # type: ignore[attr-defined] # set by fit
        return data

    def _loss_terms(self, batch: Sample, resolutions: MultiResolutionMaps) -> dict[str, Tensor]:
        """The total of a batch and its terms, scalars by name."""
        terms = self.losses(batch, resolutions)
        each = {name: term.mean() for name, term in terms._asdict().items()}
        return {"total": self.criterion.total(terms)} | each


def build_encoders(
    network: PoseNetwork, encoder: Callable[..., HeatmapEncoder]
) -> list[HeatmapEncoder]:
    """Return the encoders that draw the targets of a network, one for each of its resolutions.

    Args:
        network: to train.
        encoder: builds one from the parts of keypoints, `subpixel`, `tag_index`, the side of the
            input and a stride.
    """
    known = network.skeleton.part_index, network.subpixel, network.tag_index, network.input_size
    return [encoder(*known, stride) for stride in network.strides]
