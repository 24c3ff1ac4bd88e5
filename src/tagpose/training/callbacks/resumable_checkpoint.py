"""Callback that writes the checkpoint for resuming, also when a signal stops the run."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread, Timer
from types import FrameType
from typing import Any, Final, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import distributed

from tagpose.training.checkpoint_io import find_latest_checkpoint

FILE_NAME: Final = "last.ckpt"

_AUTO: Final = "auto"
# Schedulers end a job with SIGTERM or warn it with SIGUSR1; Ctrl-C sends SIGINT; closing a terminal
# sends SIGHUP.
_SCHEDULER_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR1)
STOP_SIGNALS: Final = (*_SCHEDULER_SIGNALS, signal.SIGINT, signal.SIGHUP)

_REPEAT_WINDOW: Final = 1.0  # seconds; launchers repeat a signal, and repeats count as one signal
_MAX_WAIT: Final = 120.0  # seconds to save; a process may wait in C for a rank that has exited


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
        if number in _SCHEDULER_SIGNALS:
            _mark_preempting(trainer.loggers)
        # children exit with 0, because the launcher kills all processes after any other code
        raise SystemExit(0 if _is_child_process(trainer) else signal_exit_code(number))


def _mark_preempting(loggers: Iterable[Logger]) -> None:
    """Mark wandb runs as preempting, so that the server restarts those of a sweep."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.mark_preempting()


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


def find_resume_checkpoint(resume: str | None, folder: Path, *, is_named: bool) -> Path | None:
    """Return the checkpoint to resume from, or None for a new run.

    Args:
        resume: a checkpoint, or auto for the latest one of the folder.
        folder: folder of the run.
        is_named: whether the same command would use the same folder again.

    Raises:
        ValueError: the folder is ambiguous, or has checkpoints that would be overwritten.
    """
    is_worker = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_PROCID", 0)) > 0
    if not is_named and (resume == _AUTO or is_worker):
        raise ValueError(
            "the run has no name, which resume=auto and runs of several processes need to find "
            "their folder; set run=NAME"
        )
    if resume == _AUTO:
        latest = find_latest_checkpoint(folder)
        status = f"Resuming from {latest}" if latest else f"Starting a new run in {folder}"
        rank_zero_only(print)(status)
        return latest
    file = Path(resume) if resume else None
    is_inside = file is not None and file.resolve().parent == folder.resolve()
    if any(folder.glob("*.ckpt")) and not is_inside:
        raise ValueError(
            f"{folder} has checkpoints of an earlier run; set resume=auto to resume it, or another "
            "run=NAME to start a new one"
        )
    return file


class StopSignalHandler:
    """Record the first stop signal; exit at once after a second one, or two minutes later.

    Args:
        is_child: whether another process of the training started this one. That process forwards
            signals, so a child does not count a repeated signal as a second one.
        forward: sends a signal number to the processes that this one started.
    """

    def __init__(self, *, is_child: bool, forward: Callable[[int], None] | None) -> None:
        self.is_child, self.forward = is_child, forward
        self.number, self.since = 0, time.monotonic()
        self.previous_handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        if self.previous_handlers[signal.SIGHUP] == signal.SIG_IGN:  # started by nohup
            del self.previous_handlers[signal.SIGHUP]
        if is_child:
            Thread(target=_exit_when_orphaned, args=(os.getppid(),), daemon=True).start()
        self.install()

    def install(self) -> None:
        """Install the handlers."""
        for number in self.previous_handlers:
            signal.signal(number, self._handle)

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self.previous_handlers.items():
            # None: the previous handler was not installed from Python
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Record the first signal and forward it; exit if a signal is repeated later."""
        del frame
        if self.number:
            if not self.is_child and time.monotonic() - self.since > _REPEAT_WINDOW:
                os._exit(signal_exit_code(number))
            return
        self.number, self.since = number, time.monotonic()
        timer: Any = Timer(_MAX_WAIT, os._exit, (signal_exit_code(number),))
        timer.daemon = True
        timer.start()
        if self.forward:
            self.forward(number)


def signal_exit_code(number: int) -> int:
    """Return the exit code of a process that a signal ended; schedulers restart such processes."""
    return 128 + number


def _exit_when_orphaned(parent: int) -> None:
    """Exit once the parent process has ended, because no signal would be forwarded any more."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
