"""LightningModule that trains a bottom-up pose network with the Associative Embedding loss."""

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
from tagpose.data.datamodule import PoseDataModule
from tagpose.losses import AssociativeEmbeddingLoss, LossTerms
from tagpose.models.checkpoint import SPEC_KEY
from tagpose.models.network import PoseNetwork
from tagpose.structures import KeypointMaps, MultiResolutionMaps, Sample
from tagpose.training.optimization import LRScaling, LRSchedule
from tagpose.training.resume_checkpoint import update_optimizer_state
from tagpose.training.validation_loss import ValidationLoss, finite_images, mean_losses


class BottomUpPoseModule(LightningModule):
    """Training and validation steps, optimizer and learning-rate schedule of one stage.

    Args:
        network: network to train.
        criterion: loss function.
        optimizer: builds an optimizer from parameters.
        lr_schedule: factor of the learning rate for each step.
        lr_scaling: scaling of the learning rate with the effective batch size; none by default.
        encoder: builds a target encoder; see `build_encoders`.

    Raises:
        ValueError: the encoder weights keypoints, but the criterion does not use the weights; or
            the network has spatial tags, but the criterion does not train them.
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
                "encoder.weight_by_visibility and encoder.small_part_weight scale "
                "criterion.foreground_weight, which is 0; set criterion.foreground_weight=30"
            )
        if network.spatial_tags and not criterion.spatial_weight:
            raise ValueError(
                f"model.network.spatial_tags={network.spatial_tags} needs the loss of weight "
                "criterion.spatial_weight, which is 0; set criterion.spatial_weight=0.01"
            )
        self.validation_loss = ValidationLoss()

    def forward(self, image: Tensor) -> KeypointMaps:
        return self.network(image)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        terms = self._loss_terms(batch, self.network.forward_resolutions(batch.image))
        losses = {f"train/loss/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(losses, batch_size=len(batch.image))
        # the sum may overflow although no gradient does; NaN reaches the gradients of all ranks
        return terms["total"] * torch.where(terms["total"].isfinite(), 1.0, torch.nan)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        precision = self.trainer.precision_plugin
        if getattr(precision, "scaler", None) is None:
            # Lightning rejects fused optimizers with any mixed precision, although only float16
            # gradients are scaled until the optimizer steps
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or GradClipAlgorithmType.NORM)
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_validation_epoch_start(self) -> None:
        self.validation_loss = ValidationLoss()

    def validation_step(  # type: ignore[override] # keypoint maps for the callbacks
        self, batch: Sample, batch_idx: int
    ) -> KeypointMaps:
        resolutions = self.network.forward_resolutions(batch.image)
        terms = self._loss_terms(batch, resolutions)
        keypoint_maps = self.network.merge(resolutions)
        is_finite = finite_images(keypoint_maps)
        for maps in keypoint_maps:  # maps of zeros are decoded to no poses
            maps.masked_fill_(~is_finite.view(-1, *[1] * (maps.ndim - 1)), 0)
        if not self._datamodule().is_padding_rank:
            self.validation_loss.update(terms, is_finite)
        return keypoint_maps

    def on_validation_epoch_end(self) -> None:
        sums = self.validation_loss.compute_sums(self.device)
        self.log_dict(mean_losses(self.trainer.strategy.reduce(sums, reduce_op="sum")))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.optimizer(self.parameters())
        trainer = self.trainer
        steps = int(trainer.estimated_stepping_batches)
        batches = trainer.world_size * trainer.accumulate_grad_batches
        images = self._datamodule().batch_size * batches
        if warning := self.lr_scaling.mismatch_warning(images):
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
        """Return the unweighted loss terms [B] of a batch, computed in float32."""
        with torch.autocast(self.device.type, enabled=False):  # squares of small differences
            labels = batch.keypoints, batch.mask, batch.unlabeled
            return self.criterion(resolutions, [encoder(*labels) for encoder in self.encoders])

    def _datamodule(self) -> PoseDataModule:
        """Return the data module that was passed to the Trainer."""
        data: PoseDataModule = self.trainer.datamodule  # type: ignore[attr-defined] # set by fit
        return data

    def _loss_terms(self, batch: Sample, resolutions: MultiResolutionMaps) -> dict[str, Tensor]:
        """Return the total loss of a batch and the means of its terms, as scalars by name."""
        terms = self.losses(batch, resolutions)
        means = {name: term.mean() for name, term in terms._asdict().items()}
        return {"total": self.criterion.total(terms)} | means


def build_encoders(
    network: PoseNetwork, encoder: Callable[..., HeatmapEncoder]
) -> list[HeatmapEncoder]:
    """Return the target encoders of a network, one for each output resolution.

    Args:
        network: network to train.
        encoder: builds an encoder from the part index of keypoints, `subpixel`, `tag_index`, the
            input size in pixels, a stride, and the OKS sigmas of keypoints.
    """
    arguments = network.skeleton.part_index, network.subpixel, network.tag_index, network.input_size
    sigmas = network.skeleton.sigmas
    return [encoder(*arguments, stride, sigmas) for stride in network.strides]
