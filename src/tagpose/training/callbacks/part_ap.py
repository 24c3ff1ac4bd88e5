"""Callback that logs AP and AR of each part after validations."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from tagpose.codec.decoder import AssociativeEmbeddingDecoder, build_decoder
from tagpose.data.datamodule import PoseDataModule
from tagpose.evaluation.ground_truth import read_ground_truth, select_images
from tagpose.evaluation.keypoint_ap import evaluate_parts, scored_parts
from tagpose.evaluation.predictions import Predictions
from tagpose.inference.batch_decoding import PendingQueue, copy_to_host, submit_batch
from tagpose.models.network import PoseNetwork
from tagpose.skeletons.skeleton import Skeleton
from tagpose.structures import KeypointMaps, Poses, Sample
from tagpose.training.buffers import broadcast_buffers

_METRICS: Final = ("ap", "ar")


class PartAPCallback(Callback):
    """Log `val/ap/PART` and `val/ar/PART` after each validation.

    The result does not depend on the number of processes. No flip test is used; `tagpose evaluate`
    reports final numbers.

    Args:
        skeleton: skeleton whose parts are evaluated.
        decoder: options of the decoder, such as `min_score`.
    """

    def __init__(self, skeleton: Skeleton, **decoder: Any) -> None:
        self.skeleton = skeleton
        self.decoder = build_decoder(skeleton, **decoder)
        self.predictions = Predictions()
        self.pending: PendingQueue[Tensor, list[Poses]] = PendingQueue()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        data: PoseDataModule = trainer.datamodule  # type: ignore[attr-defined] # set by fit
        self.ground_truth = read_ground_truth(data.ground_truth_file, self.skeleton, data.options)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.predictions.reset()
        self.pending = PendingQueue()
        self.decoder = adapt_decoder(self.decoder, pl_module)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.world_size > 1 and batch_idx == 0:
            # Each rank has its own BatchNorm statistics; those of rank 0 are evaluated, because
            # they are saved. This must not run earlier: EMA swaps buffers when the validation
            # epoch starts.
            broadcast_buffers(pl_module)

    def on_validation_batch_end(  # type: ignore[override] # our module returns keypoint maps
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: KeypointMaps,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        image_ids = copy_to_host(batch.image_id)  # arrives before the maps
        decoding = submit_batch(outputs, batch.affine, self.decoder)
        self._collect(self.pending.put(image_ids, decoding))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._collect(self.pending.drain())
        self.predictions.gather()
        poses = self.predictions.compute()
        # a sanity check or `limit_val_batches` covers only some of the images
        scores = evaluate_parts(select_images(self.ground_truth, poses), poses, self.skeleton)
        for metric in _METRICS:
            pl_module.log_dict({f"val/{metric}/{p}": getattr(s, metric) for p, s in scores.items()})

    def _collect(self, decoded: Iterable[tuple[Tensor, list[Poses]]]) -> None:
        """Add the poses of decoded batches to the predictions."""
        for image_ids, batch_poses in decoded:
            for image_id, poses in zip(image_ids.tolist(), batch_poses, strict=True):
                self.predictions.update(image_id, poses)


def score_names(skeleton: Skeleton) -> list[str]:
    """Return the names under which `PartAPCallback` logs the scores of a skeleton."""
    return [f"val/{metric}/{part}" for metric in _METRICS for part in scored_parts(skeleton)]


def adapt_decoder(
    decoder: AssociativeEmbeddingDecoder, module: LightningModule
) -> AssociativeEmbeddingDecoder:
    """Return a decoder with the options that the module's network requires."""
    network: PoseNetwork = module.network  # type: ignore[assignment] # of our module
    return replace(decoder, **network.decoder_options)
