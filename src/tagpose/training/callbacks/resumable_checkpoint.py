"""Callback that writes the checkpoint for resuming, also when a signal stops the run."""

import signal
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import distributed

from tagpose.signals import SCHEDULER_SIGNALS, StopSignalHandler, signal_exit_code
from tagpose.training.loggers import mark_preempting

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
        interval_minutes: maximum time between two checkpoints, except for validations; 0 saves
            after each step.
    """

    def __init__(self, folder: str | Path, interval_minutes: float = 10.0) -> None:
        self.file, self.seconds = Path(folder) / FILE_NAME, 60 * interval_minutes
        self.last_saved = time.monotonic()
        self.handler: StopSignalHandler | None = None
        self.group: Any = None

    @property
    def signal(self) -> int:
        """Number of the signal that this process received, or 0."""
        return self.handler.number if self.handler else 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        launcher: Any = trainer.strategy.launcher
        # before the workers start, because they inherit the handlers
        forward = launcher.kill if launcher else None
        self.handler = StopSignalHandler(is_child=_is_child_process(trainer), forward=forward)
        if trainer.world_size > 1:
            # not the group of the gradients, which waits until the GPU has finished its step
            self.group = distributed.new_group(backend="gloo")

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # again, because Lightning has replaced them by its own, which exit with code 0
        self._install_handlers()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._install_handlers()
        step = trainer.global_step
        lowest, highest = -self._max_over_ranks(-step), self._max_over_ranks(step)
        if lowest != highest:
            raise ValueError(
                f"processes resume from different steps, {lowest} and {highest}; make sure that "
                f"all of them see the same files in {self.file.parent}"
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        accumulated = trainer.accumulate_grad_batches
        if not is_last and (batch_idx + 1) % accumulated:
            return  # accumulated gradients are not part of a checkpoint
        request, epoch = self._agree_on_request(trainer), trainer.current_epoch
        if not _validation_follows(trainer, epoch, batch_idx, range(1)):
            if is_last:
                return  # on_train_epoch_end follows
            next_step = range(1, 1 + accumulated)
            if any(request) or _validation_follows(trainer, epoch, batch_idx, next_step):
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
        # already saved; without agreement, because ranks have different numbers of batches
        if self.signal:
            self._exit(trainer, self.signal)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        number = self.signal
        self.teardown(trainer, pl_module, "fit")
        if number and not isinstance(exception, SystemExit):
            # this process waited for another one, which has exited already
            raise SystemExit(signal_exit_code(number)) from exception

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.handler:
            self.handler.restore()

    def _install_handlers(self) -> None:
        if self.handler:
            self.handler.install()

    def _agree_on_request(self, trainer: Trainer, *, save: bool = False) -> _Request:
        """Return the same decision on all ranks, so that they save or exit after the same step."""
        is_late = time.monotonic() - self.last_saved >= self.seconds
        packed = 2 * self.signal + int(save or (is_late and trainer.is_global_zero))
        number, save_due = divmod(self._max_over_ranks(packed), 2)
        return _Request(number, bool(save_due))

    def _max_over_ranks(self, value: int) -> int:
        """Return the largest value of all ranks."""
        if not self.group:
            return value
        shared = torch.tensor(value)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX, group=self.group)
        return int(shared)

    def _save(self, trainer: Trainer) -> None:
        """Write the checkpoint and the metrics logged so far."""
        trainer.save_checkpoint(self.file, weights_only=False)
        self.last_saved = time.monotonic()
        for logger in trainer.loggers:
            logger.save()

    def _exit(self, trainer: Trainer, number: int) -> None:
        """Log the stop, also to wandb if a scheduler caused it, and exit with the signal's code."""
        name = signal.Signals(number).name
        hint = f"; resume with resume={self.file}" if self.file.exists() else ""
        rank_zero_info(f"{name}: stopped at step {trainer.global_step}{hint}")
        if number in SCHEDULER_SIGNALS:
            mark_preempting(trainer.loggers)
        # children exit with 0, because the launcher kills all processes after any other code
        raise SystemExit(0 if _is_child_process(trainer) else signal_exit_code(number))


def _is_child_process(trainer: Trainer) -> bool:
    """Return whether another process of the same training started this one."""
    strategy: Any = trainer.strategy
    cluster = getattr(strategy, "cluster_environment", None)
    return bool(cluster and trainer.local_rank and not cluster.creates_processes_externally)


def _is_last_epoch(trainer: Trainer) -> bool:
    """Return whether training ends with the current epoch; valid in `on_train_epoch_end`."""
    progress: Any = trainer.fit_loop.epoch_progress.current  # as `fit_loop.done` reads it
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (
        trainer.should_stop
        or 0 <= steps <= trainer.global_step
        or (epochs is not None and 0 <= epochs <= progress.processed)
    )


def _validation_follows(trainer: Trainer, epoch: int, batch_idx: int, ahead: range) -> bool:
    """Return whether a validation follows one of the next batches.

    Args:
        trainer: the trainer.
        epoch: epoch of the current batch.
        batch_idx: current batch of the epoch.
        ahead: offsets of the batches from the current one, of which any may match.
    """
    epochs, batches = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or batches is None:  # None: validation by wall-clock time
        return False
    if epochs is None:  # batches are counted across epochs
        batch_idx = trainer.fit_loop.total_batch_idx
    elif (epoch + 1) % epochs:
        return False
    return any((batch_idx + 1 + offset) % batches == 0 for offset in ahead)
