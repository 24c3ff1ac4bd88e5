"""Callbacks that log AP per part and training throughput."""

from collections.abc import Iterable
from time import perf_counter
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from tagpose.codec.decoder import build_decoder
from tagpose.data.datamodule import PoseData
from tagpose.evaluation.part_ap import part_scores
from tagpose.evaluation.predictions import Predictions
from tagpose.evaluation.truth import read_truth, select
from tagpose.inference.decoding import PendingQueue, copy_to_host, submit_batch
from tagpose.skeleton import Skeleton
from tagpose.structures import Fields, People, Sample
from tagpose.training.buffers import broadcast_buffers
from tagpose.training.decoding import as_learned


class PartAP(Callback):
    """Log `val/ap/PART` and `val/ar/PART` after each validation.

    The result does not depend on the number of processes. No flip test is used; `make evaluate`
    reports final numbers.

    Args:
        skeleton: whose parts are scored.
        decoder: options of the decoder, such as `min_score`.
    """

    def __init__(self, skeleton: Skeleton, **decoder: Any) -> None:
        self.skeleton = skeleton
        self.decoder = build_decoder(skeleton, **decoder)
        self.found = Predictions()
        self.decoding: PendingQueue[Tensor, list[People]] = PendingQueue()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        data: PoseData = trainer.datamodule  # type: ignore[attr-defined] # set by fit
        self.truth = read_truth(data.truth_file, self.skeleton, data.options)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.found.reset()
        self.decoding = PendingQueue()
        self.decoder = as_learned(self.decoder, pl_module)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.world_size > 1 and batch_idx == 0:
            # Each rank has its own BatchNorm statistics, and those of rank 0 are saved, so they are
            # scored. Not earlier, because EMA swaps buffers when the validation epoch starts.
            broadcast_buffers(pl_module)

    def on_validation_batch_end(  # type: ignore[override] # our module returns fields
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Fields,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        image_ids = copy_to_host(batch.image_id)  # arrives before the maps
        decoding = submit_batch(outputs, batch.frame, self.decoder)
        self._keep(self.decoding.put(image_ids, decoding))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(self.decoding.drain())
        self.found.gather()
        people = self.found.compute()
        # a sanity check or a limit of batches sees a part of the images
        scores = part_scores(select(self.truth, people), people, self.skeleton)
        for number in ("ap", "ar"):
            pl_module.log_dict({f"val/{number}/{p}": getattr(s, number) for p, s in scores.items()})

    def _keep(self, decoded: Iterable[tuple[Tensor, list[People]]]) -> None:
        """Remember the people of decoded batches."""
        for image_ids, people in decoded:
            for image_id, found in zip(image_ids.tolist(), people, strict=True):
                self.found.update(image_id, found)


class ImagesPerSecond(Callback):
    """Logs `train/images_per_second` of all processes together, over the last steps.

    Args:
        every: so many steps.
    """

    def __init__(self, every: int = 50) -> None:
        self.every, self.images, self.since = every, 0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.images, self.since = 0, perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
    ) -> None:
        self.images += len(batch.image) * trainer.world_size
        if trainer.global_step % self.every == 0:
            pl_module.log("train/images_per_second", self.images / (perf_counter() - self.since))
            self.on_train_start(trainer, pl_module)
