"""Lightning callback that skips optimizer steps with a non-finite loss or gradient.

Non-finite numbers are handled in five places, each with one job:

- `BottomUpPoseModule.training_step` turns an infinite loss into NaN, so that every rank sees it in
  the averaged gradient;
- `NonFiniteGuard` (here) skips the step, restores BatchNorm statistics and stops the run if it
  happens too often;
- `AtomicCheckpointIO` refuses to write non-finite weights;
- `BottomUpPoseModule.validation_step` zeroes non-finite outputs, so that the image scores 0;
- `evaluation` rejects non-finite predictions, which COCO evaluators would count as perfect.
"""

from collections import deque
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from tagpose.models.checkpoint import write_torch
from tagpose.structures import Sample
from tagpose.training.buffers import BufferSnapshot

_WINDOW: Final = 100  # optimizer steps over which skipped steps are counted
_MAX_SAVED_BATCHES: Final = 20  # a batch of 24 images is 19 MB


class AsyncFlag:
    """Host copy of a scalar flag that is started now and read later.

    On CUDA the copy is asynchronous: `read` waits for the kernels queued before the copy only.

    Args:
        flag: zero-dimensional tensor, not 0 for true.
    """

    def __init__(self, flag: Tensor) -> None:
        self.value = torch.empty((), dtype=flag.dtype, pin_memory=flag.is_cuda)
        self.value.copy_(flag, non_blocking=flag.is_cuda)
        # an event and not the stream, which would also wait for the optimizer
        self.copied = (
            torch.cuda.current_stream(flag.device).record_event() if flag.is_cuda else None
        )

    def read(self) -> bool:
        """Wait for the copy and return its value."""
        if self.copied:
            self.copied.synchronize()
        return bool(self.value)


class _Step(NamedTuple):
    """Optimizer step of the current batch."""

    number: int  # optimizer steps before it
    optimizer: Optimizer
    is_skipped: AsyncFlag


class NonFiniteGuard(Callback):
    """Skip optimizer steps whose gradient is not finite, and stop the run if there are too many.

    DDP averages gradients, so all ranks see the same norm and skip the same steps. Running
    statistics of BatchNorm, which the forward pass has already updated, are restored.

    Fused optimizers skip the step on the device, by the `found_inf` that they share with the
    gradient scaler. The host reads the flag in `on_train_batch_end`, when the kernels of the
    optimizer are queued. Other optimizers are checked before they step. With `precision=16-mixed`
    the gradient scaler skips steps itself, and this callback does nothing.

    Args:
        folder: where the batches of skipped steps are saved for inspection, at most 20 per run.
        max_skipped: skipped steps among the last 100 above which the run is stopped.
    """

    def __init__(self, folder: str | Path, max_skipped: int = 5) -> None:
        self.folder, self.max_skipped = Path(folder), max_skipped
        self.recent: deque[bool] = deque(maxlen=_WINDOW)
        self.total_skipped = 0
        self._buffers: BufferSnapshot | None = None
        self._image_ids: list[Tensor] = []  # of all batches accumulated since the last step
        self._step: _Step | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the order of the callbacks.

        Raises:
            ValueError: a weight average would be updated before the buffers are restored.
        """
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # set in __init__
        earlier = callbacks[: callbacks.index(self)]
        if any(isinstance(callback, WeightAveraging) for callback in earlier):
            raise ValueError(
                "callbacks lists a weight average before nan_guard, so the average would include "
                "the BatchNorm statistics of skipped steps; list nan_guard first"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._buffers = BufferSnapshot(pl_module)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Sample, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._image_ids = []
            assert self._buffers
            self._buffers.update()
        self._image_ids.append(batch.image_id)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if getattr(trainer.precision_plugin, "scaler", None):
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        found_inf = norm.isfinite().logical_not().float()
        self._step = _Step(trainer.global_step, optimizer, AsyncFlag(found_inf))
        if _skips_on_device(optimizer):
            optimizer.found_inf = found_inf  # type: ignore[attr-defined] # as GradScaler sets it
        elif self._step.is_skipped.read():
            for parameter in parameters:
                parameter.grad = None  # optimizers leave parameters without a gradient unchanged

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
    ) -> None:
        if self._step:
            step, self._step = self._step, None
            vars(step.optimizer).pop("found_inf", None)
            self.recent.append(step.is_skipped.read())
            if self.recent[-1]:
                self._skip(trainer, batch, step.number)
        if self.total_skipped:
            pl_module.log("train/skipped_steps", float(self.total_skipped))

    def state_dict(self) -> dict[str, Any]:
        return {"total_skipped": self.total_skipped, "recent": list(self.recent)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total_skipped = state_dict["total_skipped"]
        self.recent.extend(state_dict["recent"])

    def _skip(self, trainer: Trainer, batch: Sample, step: int) -> None:
        """Restore the buffers, save the batch and warn.

        Raises:
            RuntimeError: more than `max_skipped` of the last 100 steps were not finite.
        """
        assert self._buffers
        self._buffers.restore()
        self.total_skipped += 1
        if self.total_skipped <= _MAX_SAVED_BATCHES:
            name = f"step_{step:07d}_rank_{trainer.global_rank}.pt"
            content = {name: tensor.cpu() for name, tensor in batch._asdict().items()}
            write_torch(self.folder / name, content)
        images = f"images {torch.cat(self._image_ids).tolist()}"
        if trainer.world_size > 1:
            images += f" of rank {trainer.global_rank}, or those of another rank"
        message = f"Non-finite loss or gradient at step {step} ({images}); the step was skipped."
        if sum(self.recent) > self.max_skipped:
            raise RuntimeError(
                f"{message} {sum(self.recent)} of the last {len(self.recent)} steps were skipped; "
                f"their batches are in {self.folder}. Try a lower optimization.optimizer.lr, "
                "trainer.gradient_clip_val=1 or trainer.precision=32-true."
            )
        rank_zero_warn(f"{message} Skipped batches are saved in {self.folder}.")


def _skips_on_device(optimizer: Optimizer) -> bool:
    """Return whether an optimizer leaves everything unchanged where its `found_inf` is 1.

    Not the first step: fused SGD allocates its momentum there and would not initialize it.
    """
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False) and optimizer.state)
