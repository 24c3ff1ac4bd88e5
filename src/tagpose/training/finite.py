"""This file keeps numbers that are not finite out of the weights."""

from collections import deque
from pathlib import Path
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from tagpose.model.files import write_pickle
from tagpose.structures import Sample

_WINDOW: Final = 100  # steps over which skipped ones are counted
_KEPT: Final = 20  # batches at most, 19 MB each of 24 images


class Finite(Callback):
    """Skips steps whose loss or gradient is not finite, keeps what led to them, and ends in time.

    All processes skip the same steps: they average their gradients, and a loss that is not finite
    makes those of its process NaN (see `PoseTraining`). Batch statistics, which the forward pass
    has moved by then, are put back.

    Args:
        folder: for the batches that were skipped.
        most: of the last 100 steps; with more the run ends.
    """

    def __init__(self, folder: str | Path, most: int = 5) -> None:
        self.folder, self.most = Path(folder), most
        self.skipped: deque[bool] = deque(maxlen=_WINDOW)
        self.total = 0
        self.kept: list[Tensor] = []
        self.batch: Sample | None = None
        self.images: list[Tensor] = []  # ids, of the batches since the last step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Sample, batch_idx: int
    ) -> None:
        self.batch = batch
        self.images.append(batch.image_id)
        if batch_idx % trainer.accumulate_grad_batches == 0:
            buffers = list(pl_module.buffers())
            if not self.kept:
                self.kept = [buffer.clone() for buffer in buffers]
            torch._foreach_copy_(self.kept, buffers)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if getattr(trainer.precision_plugin, "scaler", None):
            return  # of 16-mixed, which skips by itself, and often at first
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        finite = bool(get_total_norm(gradients).isfinite())
        self.skipped.append(not finite)
        if finite:
            return
        for parameter in pl_module.parameters():
            parameter.grad = None  # which every optimiser leaves alone, moments and all
        torch._foreach_copy_(list(pl_module.buffers()), self.kept)
        self.total += 1
        self._tell(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
    ) -> None:
        self.batch = None
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.images = []
        if self.total:
            pl_module.log("train/skipped_steps", float(self.total))

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "skipped": list(self.skipped)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total = state_dict["total"]
        self.skipped.extend(state_dict["skipped"])

    def _tell(self, trainer: Trainer) -> None:
        """Keep the batch, and end the run where there were too many.

        Raises:
            ValueError: there were.
        """
        assert self.batch
        file = self.folder / f"step_{trainer.global_step:07d}_rank_{trainer.global_rank}.pt"
        if self.total <= _KEPT:
            batch = {name: tensor.cpu() for name, tensor in self.batch._asdict().items()}
            write_pickle(file, batch)
        ids = torch.cat(self.images).tolist()
        of_others = "" if trainer.world_size == 1 else ", or those of another process"
        seen = (
            f"step {trainer.global_step}: loss or gradient is not finite with the images {ids}"
            f"{of_others}"
        )
        times = sum(self.skipped)
        if times > self.most:
            raise ValueError(
                f"{seen}, and so were {times} of the last {len(self.skipped)} steps; the batches "
                f"are in {self.folder}. A lower optimization.optimizer.lr, a "
                "trainer.gradient_clip_val or trainer.precision=32-true may do"
            )
        rank_zero_warn(f"{seen}; it is skipped, the last batch is in {self.folder}")
