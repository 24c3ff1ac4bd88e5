"""This file keeps the checkpoint that a run goes on from, also when the run is told to end."""

import signal
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import distributed

from tagpose.training.stopping import Hearing, exit_code

NAME: Final = "last.ckpt"


class _Asked(NamedTuple):
    """What the processes agree on after a step."""

    signal: int  # that one of them got, or 0
    save: bool  # whether it is time to


class Last(Checkpoint):
    """Keeps `last.ckpt`, from which a run goes on exactly, and ends the run when a signal says so.

    A signal lets the step end, saves, and ends every process. Saved is after a step now and then,
    after each epoch, and before the last step that precedes a validation: Lightning goes on behind
    a validation that it was stopped before.

    Args:
        folder: of the run.
        minutes: between two, within an epoch.
    """

    def __init__(self, folder: str | Path, minutes: float = 10.0) -> None:
        self.file, self.seconds = Path(folder) / NAME, 60 * minutes
        self.saved = time.monotonic()
        self.hearing: Hearing | None = None
        self.group: Any = None

    @property
    def signal(self) -> int:
        """The signal that this process got, or 0."""
        return self.hearing.number if self.hearing else 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        launcher: Any = trainer.strategy.launcher
        # before workers start, which hear what their parents hear
        forward = launcher.kill if launcher else None
        self.hearing = Hearing(started=_is_started(trainer), forward=forward)
        if trainer.world_size > 1:
            # apart from the gradients': a GPU would have to end its step before it answers
            self.group = distributed.new_group(backend="gloo")

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()  # again, as Lightning puts its own in front, which end with the code 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()
        step = trainer.global_step
        least, most = -self._most(-step), self._most(step)
        if least != most:
            raise ValueError(
                f"processes go on from different steps, {least} and {most}; do all see the same "
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
            return  # gradients that wait for others are in no checkpoint
        asked = self._agree(trainer)
        if not _validates(trainer, batch_idx, range(1)):
            if last:
                return  # saved at the end of the epoch, which is now
            if asked.signal or asked.save or _validates(trainer, batch_idx, range(1, 1 + added)):
                self._save(trainer)
        if asked.signal:
            self._leave(trainer, asked.signal)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        if number := self._agree(trainer).signal:
            self._leave(trainer, number)

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
            self._leave(trainer, self.signal)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        number = self.signal
        self.teardown(trainer, pl_module, "fit")
        if number and not isinstance(exception, SystemExit):
            # one that waited for another, which has left already
            raise SystemExit(exit_code(number)) from exception

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.hearing:
            self.hearing.end()

    def _listen(self) -> None:
        if self.hearing:
            self.hearing.listen()

    def _agree(self, trainer: Trainer) -> _Asked:
        """What any process was asked; all of them do the same after the same step."""
        late = time.monotonic() - self.saved > self.seconds
        both = 2 * self.signal + int(late and trainer.is_global_zero)
        number, save = divmod(self._most(both), 2)
        return _Asked(number, bool(save))

    def _most(self, value: int) -> int:
        """The largest value of all processes."""
        if not self.group:
            return value
        shared = torch.tensor(value)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX, group=self.group)
        return int(shared)

    def _save(self, trainer: Trainer) -> None:
        """Save, and what was logged until now."""
        trainer.save_checkpoint(self.file, weights_only=False)
        self.saved = time.monotonic()
        for logger in trainer.loggers:
            logger.save()

    def _leave(self, trainer: Trainer, number: int) -> None:
        """End this process."""
        name = signal.Signals(number).name
        there = f"; resume={self.file} goes on" if self.file.exists() else ""
        rank_zero_info(f"{name}: stopped at step {trainer.global_step}{there}")
        # the first process kills all others where one that it started ends with another code
        raise SystemExit(0 if _is_started(trainer) else exit_code(number))


def _is_started(trainer: Trainer) -> bool:
    """Whether another process of the same training started this one."""
    strategy: Any = trainer.strategy
    cluster = getattr(strategy, "cluster_environment", None)
    return bool(cluster and trainer.local_rank and not cluster.creates_processes_externally)


def _validates(trainer: Trainer, batch_idx: int, ahead: range) -> bool:
    """Whether a validation follows one of the batches that are so many ahead of this one."""
    every, between = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or between is None:  # or it follows the clock
        return False
    if every is None:  # batches are counted through all epochs
        batch_idx = trainer.fit_loop.total_batch_idx
    elif (trainer.current_epoch + 1) % every:
        return False
    return any((batch_idx + 1 + more) % between == 0 for more in ahead)
