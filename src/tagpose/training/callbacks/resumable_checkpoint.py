"""Lightning callback that writes the checkpoint for resuming, also when a signal stops the run."""

import signal
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import distributed

from tagpose.training.stop_signals import StopSignalHandler, signal_exit_code

FILE_NAME: Final = "last.ckpt"


class _Request(NamedTuple):
    """Decision of all ranks after a step."""

    signal: int  # number of a signal that a rank received, or 0
    save: bool  # whether a checkpoint is due


class ResumableCheckpoint(Checkpoint):
    """Write `last.ckpt`, from which a run resumes exactly, and stop the run after a signal.

    All ranks wait while a checkpoint is written, so it is not written after each epoch, but

    - after the first step at which `interval_minutes` have passed since the last one;
    - before the last step that precedes a validation, because a run that is stopped after that
      step and before the validation would resume after the validation;
    - after the last step of the training;
    - after the step during which a rank receives a signal, before all ranks exit.

    Args:
        folder: folder of the run.
        interval_minutes: maximum time between two checkpoints, except for validations; 0 saves each step.
    """

    def __init__(self, folder: str | Path, interval_minutes: float = 10.0) -> None:
        self.file, self.seconds = Path(folder) / FILE_NAME, 60 * interval_minutes
        self.last_saved = time.monotonic()
        self.handler: StopSignalHandler | None = None
        self.group: Any = None

    @property
    def signal(self) -> int:
        """The signal that this process got, or 0."""
        return self.handler.number if self.handler else 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        launcher: Any = trainer.strategy.launcher
        # before workers start, which hear what their parents hear
        forward = launcher.kill if launcher else None
        self.handler = StopSignalHandler(is_child=_is_child_process(trainer), forward=forward)
        if trainer.world_size > 1:
            # apart from the gradients': a GPU would have to end its step before it answers
            self.group = distributed.new_group(backend="gloo")

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._install_handlers()  # again, as Lightning puts its own in front, which end with the code 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._install_handlers()
        step = trainer.global_step
        lowest, highest = -self._max_over_ranks(-step), self._max_over_ranks(step)
        if lowest != highest:
            raise ValueError(
                f"processes go on from different steps, {lowest} and {highest}; do all see the same "
                f"files in {self.file.parent}?"
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        added = trainer.accumulate_grad_batches
        if not last and (batch_idx + 1) % added:
            return  # accumulated gradients are not part of a checkpoint
        request, epoch = self._agree_on_request(trainer), trainer.current_epoch
        if not _validation_follows(trainer, epoch, batch_idx, range(1)):
            if last:
                return  # on_train_epoch_end follows
            if any(request) or _validation_follows(trainer, epoch, batch_idx, range(1, 1 + added)):
                self._save(trainer)
        if request.signal:
            self._exit(trainer, request.signal)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        first_step = range(1, 1 + trainer.accumulate_grad_batches)
        validates = _validation_follows(trainer, trainer.current_epoch + 1, -1, first_step)
        request = self._agree_on_request(trainer, save=validates or _is_last_epoch(trainer))
        if any(request):
            self._save(trainer)
        if request.signal:
            self._exit(trainer, request.signal)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.signal:  # saved before; each process leaves, as they have different numbers of them
            self._exit(trainer, self.signal)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        number = self.signal
        self.teardown(trainer, pl_module, "fit")
        if number and not isinstance(exception, SystemExit):
            # one that waited for another, which has left already
            raise SystemExit(signal_exit_code(number)) from exception

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.handler:
            self.handler.restore()

    def _install_handlers(self) -> None:
        if self.handler:
            self.handler.install()

    def _agree_on_request(self, trainer: Trainer, *, save: bool = False) -> _Request:
        """Return the same decision on all ranks, so that they save or exit after the same step."""
        late = time.monotonic() - self.last_saved >= self.seconds
        both = 2 * self.signal + int(save or (late and trainer.is_global_zero))
        number, due = divmod(self._max_over_ranks(both), 2)
        return _Request(number, bool(due))

    def _max_over_ranks(self, value: int) -> int:
        """The largest value of all processes."""
        if not self.group:
            return value
        shared = torch.tensor(value)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX, group=self.group)
        return int(shared)

    def _save(self, trainer: Trainer) -> None:
        """Write the checkpoint and the metrics that were logged before it."""
        trainer.save_checkpoint(self.file, weights_only=False)
        self.last_saved = time.monotonic()
        for logger in trainer.loggers:
            logger.save()

    def _exit(self, trainer: Trainer, number: int) -> None:
        """End this process."""
        name = signal.Signals(number).name
        there = f"; resume={self.file} goes on" if self.file.exists() else ""
        rank_zero_info(f"{name}: stopped at step {trainer.global_step}{there}")
        # the first process kills all others where one that it started ends with another code
        raise SystemExit(0 if _is_child_process(trainer) else signal_exit_code(number))


def _is_child_process(trainer: Trainer) -> bool:
    """Whether another process of the same training started this one."""
    strategy: Any = trainer.strategy
    cluster = getattr(strategy, "cluster_environment", None)
    return bool(cluster and trainer.local_rank and not cluster.creates_processes_externally)


def _is_last_epoch(trainer: Trainer) -> bool:
    """Return whether the training ends with the current epoch; for `on_train_epoch_end`."""
    progress: Any = trainer.fit_loop.epoch_progress.current  # as `fit_loop.done` reads it
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (
        trainer.should_stop
        or 0 <= steps <= trainer.global_step
        or (epochs is not None and 0 <= epochs <= progress.processed)
    )


def _validation_follows(trainer: Trainer, epoch: int, batch_idx: int, ahead: range) -> bool:
    """Return whether a validation follows one of the batches `ahead` of a batch of an epoch."""
    every, between = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or between is None:  # or it follows the clock
        return False
    if every is None:  # batches are counted through all epochs
        batch_idx = trainer.fit_loop.total_batch_idx
    elif (epoch + 1) % every:
        return False
    return any((batch_idx + 1 + more) % between == 0 for more in ahead)
