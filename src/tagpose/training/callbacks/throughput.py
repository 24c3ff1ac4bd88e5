"""Callback that logs training throughput."""

from time import perf_counter
from typing import Any

from lightning import Callback, LightningModule, Trainer

from tagpose.structures import Sample


class ThroughputMonitor(Callback):
    """Log `train/images_per_second`, the throughput of all processes without validations.

    Args:
        every_n_steps: number of steps over which the throughput is averaged.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        self.every_n_steps, self.num_images, self.start_time = every_n_steps, 0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.num_images, self.start_time = 0, perf_counter()

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
        self.num_images += len(batch.image) * trainer.world_size
        if trainer.global_step % self.every_n_steps == 0:
            pl_module.log(
                "train/images_per_second", self.num_images / (perf_counter() - self.start_time)
            )
            self.on_train_start(trainer, pl_module)
